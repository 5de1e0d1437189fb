"""Dialogues: the list, a new one, earlier ones from a file, two side by side, or one dialogue."""

from workbench.ui.components import url
from workbench.ui.dialogues.compare import draw_compare
from workbench.ui.dialogues.dialogue import draw_dialogue
from workbench.ui.dialogues.importing import draw_import
from workbench.ui.dialogues.new import draw_list, draw_new

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
