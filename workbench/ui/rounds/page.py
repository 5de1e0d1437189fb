"""Rounds: the list with the form of a new one, or one round, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.rounds.list import draw_list
from workbench.ui.rounds.round import draw_round

chosen = url.number("round")
if chosen is not None:
    draw_round(chosen)
else:
    draw_list()
