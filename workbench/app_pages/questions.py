"""Questions: the list, an import, or one question, by what the URL says."""

from workbench.ui import url
from workbench.ui.question_import import draw_import
from workbench.ui.question_list import draw_list
from workbench.ui.question_page import draw_question

if (question_id := url.number("question")) is not None:
    draw_question(question_id)
elif url.parameter("import") is not None:
    draw_import()
else:
    draw_list()
