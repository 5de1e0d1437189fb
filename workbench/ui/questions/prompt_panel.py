"""The exact prompt: text and token ids that would be sent for a question."""

from functools import lru_cache
from pathlib import Path
from typing import get_args

import streamlit as st

from db.errors import Q2QError
from db.models import ModelRow, list_models
from db.questions import QuestionRow
from db.sweeps import question_texts
from db.tables import ROLES
from serving.formats.definitions import DIALOGUE_TASKS, REQUIRED, Task
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.expand import render_question
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, one_line
from workbench.ui.questions.view import numbered_ids

TASKS: tuple[Task, ...] = tuple(task for task in get_args(Task) if task not in DIALOGUE_TASKS)
"""Those of a dialogue need more than a question."""


@lru_cache(maxsize=4)
def _tokenizer(folder: str, _digest: str | None) -> PromptTokenizer:
    return PromptTokenizer.load(Path(folder))


def draw_prompt(row: QuestionRow, reasonings: tuple[str, ...]) -> None:
    """Draw the selectors, and the prompt that they give for ``row``.

    Args:
        row: The question.
        reasonings: Its first reasonings, for the tasks that start from one or two.
    """
    section(t("question.prompt"), t("question.prompt_help"))
    with card("prompt"):
        book = registry()
        with database().read() as session:
            models = [m for m in list_models(session) if m.path and Path(m.path).is_dir()]
        first, second, third, fourth = st.columns(4)
        with first:
            task = st.selectbox(
                t("question.mode"),
                [task for task in TASKS if _possible(task, row, reasonings)],
                format_func=lambda name: t(f"task.{name}"),
            )
        with second:
            formats = [
                name for name, one in book.formats.items() if task in one.definition.tasks.given()
            ]
            # A chat format needs the chat template of a model.
            wanted = "chat@1" if models else "tagged@1"
            first_choice = formats.index(wanted) if wanted in formats else 0
            form = st.selectbox(t("question.format"), formats, first_choice)
        with third:
            roles = list(book.roles)
            own = next((i for i, name in enumerate(roles) if name.split("@")[0] == row.role), 0)
            role = st.selectbox(t("question.role"), roles, own, format_func=_role_name)
        with fourth:
            model = st.selectbox(
                t("question.model"),
                models,
                format_func=lambda m: one_line(m.name, 40),
                placeholder=t("none"),
            )
        if form is not None:
            _draw(row, task, form, role, model, reasonings)


def _role_name(reference: str) -> str:
    name, _, version = reference.partition("@")
    return f"{word('role', name) if name in ROLES else name}@{version}"


def _possible(task: Task, row: QuestionRow, reasonings: tuple[str, ...]) -> bool:
    needs = REQUIRED[task]
    if "answer" in needs and not row.reference_answer:
        return False
    if "reasoning_b" in needs:
        return len(reasonings) > 1
    return "reasoning" not in needs or bool(reasonings)


def _draw(
    row: QuestionRow,
    task: Task,
    form: str,
    role: str,
    model: ModelRow | None,
    reasonings: tuple[str, ...],
) -> None:
    book = registry()
    with database().read() as session:
        question = question_texts(session, [row.id])[0]
    try:
        tokenizer = _tokenizer(model.path, model.digest) if model and model.path else None
        prompt = render_question(
            question,
            book.format(form).definition,
            book.role(role).definition.system,
            task,
            tokenizer,
            reasonings=reasonings,
        )
    except Q2QError as error:
        st.warning(escaped(str(error)))
        return
    st.caption(t("question.prompt_text"))
    st.code(prompt.text, language=None, wrap_lines=True)
    if not prompt.token_ids:
        st.caption(t("question.no_tokenizer"))
        return
    with st.expander(t("question.prompt_ids", n=len(prompt.token_ids))):
        st.code(numbered_ids(prompt.token_ids), language=None, wrap_lines=True)
