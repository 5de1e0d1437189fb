"""Dialogues: the list, a new one, earlier ones from a file, two side by side, or one session."""

from workbench.ui import url
from workbench.ui.dialogue_compare import draw_compare
from workbench.ui.dialogue_import import draw_import
from workbench.ui.dialogue_list import draw_list
from workbench.ui.dialogue_new import draw_new
from workbench.ui.dialogue_page import draw_dialogue

if (session_id := url.number("session")) is not None and (other := url.number("with")) is not None:
    draw_compare(session_id, other)
elif session_id is not None:
    draw_dialogue(session_id)
elif url.parameter("new") is not None:
    draw_new()
elif url.parameter("import") is not None:
    draw_import()
else:
    draw_list()
