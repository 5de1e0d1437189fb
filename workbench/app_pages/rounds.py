"""Rounds: the list with the form of a new one, or one round, by what the URL says."""

from workbench.ui import url
from workbench.ui.round_list import draw_list
from workbench.ui.round_view import draw_round

chosen = url.number("round")
if chosen is not None:
    draw_round(chosen)
else:
    draw_list()
