"""Training: the list of runs with the form of a new one, or one run, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.training.runs import draw_list, draw_run

chosen = url.number("run")
if chosen is not None:
    draw_run(chosen)
else:
    draw_list()
