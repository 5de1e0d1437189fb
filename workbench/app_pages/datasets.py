"""Datasets: the list, the form of a new one, an import, or one of them, by what the URL says."""

from workbench.ui import url
from workbench.ui.dataset_import import draw_import
from workbench.ui.dataset_list import draw_list
from workbench.ui.dataset_new import draw_new
from workbench.ui.dataset_view import draw_dataset

chosen = url.number("dataset")
if url.parameter("new") is not None:
    draw_new()
elif url.parameter("import") is not None:
    draw_import()
elif chosen is not None:
    draw_dataset(chosen)
else:
    draw_list()
