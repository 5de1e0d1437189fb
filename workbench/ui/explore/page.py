"""Explore: the matrix, one item, or two texts side by side, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.explore.item import draw_comparison, draw_item
from workbench.ui.explore.matrix import draw_overview

name, other = url.parameter("id"), url.parameter("with")
if name is not None and other is not None:
    draw_comparison(name, other)
elif name is not None:
    draw_item(name)
else:
    draw_overview()
