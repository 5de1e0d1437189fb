"""Models: the list, or one of them with its proof and its card, by what the URL says."""

from workbench.ui import url
from workbench.ui.model_list import draw_list
from workbench.ui.model_view import draw_model

chosen = url.number("model")
if chosen is not None:
    draw_model(chosen)
else:
    draw_list()
