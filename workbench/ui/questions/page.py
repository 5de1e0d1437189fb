"""Questions: the list, an import, or one question, by what the URL says."""

from workbench.ui.components import url
from workbench.ui.questions.importing import draw_import
from workbench.ui.questions.list import draw_list
from workbench.ui.questions.question import draw_question

if (question_id := url.number("question")) is not None:
    draw_question(question_id)
elif url.parameter("import") is not None:
    draw_import()
else:
    draw_list()
