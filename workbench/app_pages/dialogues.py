"""Dialogues: the list, a new one, two side by side, or one session, by what the URL says."""

from workbench.ui import url
from workbench.ui.dialogue_compare import draw_compare
from workbench.ui.dialogue_list import draw_list
from workbench.ui.dialogue_new import draw_new
from workbench.ui.dialogue_page import draw_dialogue

if (session_id := url.number("session")) is not None and (other := url.number("with")) is not None:
    draw_compare(session_id, other)
elif session_id is not None:
    draw_dialogue(session_id)
elif url.parameter("new") is not None:
    draw_new()
else:
    draw_list()
