"""Datasets: the list, the form of a new one, an import, or one of them, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.datasets.dataset import draw_dataset
from workbench.ui.datasets.importing import draw_import
from workbench.ui.datasets.list import draw_list
from workbench.ui.datasets.new import draw_new

chosen = url.number("dataset")
if url.parameter("new") is not None:
    draw_new()
elif url.parameter("import") is not None:
    draw_import()
elif chosen is not None:
    draw_dataset(chosen)
else:
    draw_list()
