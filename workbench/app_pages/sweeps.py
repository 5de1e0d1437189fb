"""Sweeps: the list, a new one, or one sweep, by what the URL says."""

from workbench.ui import url
from workbench.ui.sweep_list import draw_list
from workbench.ui.sweep_new import draw_new
from workbench.ui.sweep_page import draw_sweep

if (sweep_id := url.number("sweep")) is not None:
    draw_sweep(sweep_id)
elif url.parameter("new") is not None:
    draw_new()
else:
    draw_list()
