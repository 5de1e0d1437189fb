"""Models: the list, or one of them with its proof and its card, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.models.models import draw_list, draw_model

chosen = url.number("model")
if chosen is not None:
    draw_model(chosen)
else:
    draw_list()
