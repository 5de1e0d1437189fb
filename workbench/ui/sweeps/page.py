"""Sweeps: the list, a new one, or one sweep, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.sweeps.list import draw_list
from workbench.ui.sweeps.new import draw_new
from workbench.ui.sweeps.sweep import draw_sweep

if (sweep_id := url.number("sweep")) is not None:
    draw_sweep(sweep_id)
elif url.parameter("new") is not None:
    draw_new()
else:
    draw_list()
