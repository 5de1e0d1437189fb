"""Rating: the queues, a new one, or the desk with one queue's cards, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.rating.card import draw_assigned
from workbench.ui.rating.queues import draw_new, draw_queues

if (queue_id := url.number("queue")) is not None:
    draw_assigned(queue_id)
elif url.parameter("new") is not None:
    draw_new()
else:
    draw_queues()
