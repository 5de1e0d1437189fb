"""One question: its text, where it comes from, its reasonings and answers, the exact prompt."""

from functools import lru_cache
from pathlib import Path

import streamlit as st

from db.errors import Q2QError
from db.models import ModelRow, list_models
from db.questions import QuestionRow
from db.tables import ROLES
from db.texts.cards import question_card
from db.texts.inputs import question_texts
from serving.formats.definitions import DIALOGUE_TASKS, TASKS, Task
from serving.formats.tokenizer import PromptTokenizer
from serving.importers.fields import written
from serving.sweeps.expand import render_question
from workbench.ui.components import url
from workbench.ui.components.archive import draw_archive
from workbench.ui.components.controls import back_link, download, page_link, trail
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card, empty_state, head_row, heading, section
from workbench.ui.components.store import child_ids, database, registry
from workbench.ui.components.text import escaped, one_line, show_text, told
from workbench.ui.components.text_cards import draw_reference, draw_texts, numbered_ids
from workbench.ui.questions.list import as_jsonl, draw_facts, draw_take, edit_dialog

SHOWN_TASKS: tuple[Task, ...] = tuple(task for task in TASKS if task not in DIALOGUE_TASKS)
"""Those of a dialogue need more than a question."""


def draw_question(question_id: int) -> None:
    """Draw the question, or say that there is none."""
    way = back_link(t("questions.back"), _leave)
    try:
        with database().read() as session:
            found = question_card(session, question_id)
            children = child_ids(session, question_id)
    except Q2QError:
        st.error(t("questions.missing", id=question_id))
        return
    row = found.question
    trail(way, t("question.heading", id=row.id))
    with head_row("question"):
        with st.container(width="stretch"):
            heading(t("question.heading", id=row.id))
        download(
            t("questions.export"),
            as_jsonl([row]),
            f"{row.ref}.jsonl",
            icon="upload",
            type="tertiary",
        )
        draw_take([row.id])
        draw_archive("question", row.id, row.archived_at)
        page_link("sweeps", t("question.new_sweep"), "add", new="1", questions=row.id)
        if st.button(t("question.edit"), icon=":material/edit:"):
            edit_dialog(row)
    _draw_text(row)
    _draw_lineage(row, children)
    section(t("question.texts"))
    if found.n_variants or found.n_answers:
        draw_texts(found)
    else:
        with empty_state("texts", "forum", "question.no_texts"):
            page_link("sweeps", t("question.new_sweep"), "add", new="1", questions=question_id)
    draw_prompt(row, tuple(one.variant.text for one in found.variants[:2]))


def _leave() -> None:
    url.clear("question")


def _draw_text(row: QuestionRow) -> None:
    with card("question"):
        show_text(row.text)
        if row.context:
            st.caption(t("question.context"), help=t("question.context_help"))
            show_text(row.context)
        draw_reference(row)
        draw_facts(row)
        if row.fields:
            with st.expander(t("question.fields", n=len(row.fields))):
                st.table(
                    [
                        {
                            t("question.field"): escaped(name),
                            t("question.field_value"): escaped(written(value)),
                        }
                        for name, value in row.fields.items()
                    ],
                    hide_index=True,
                )


def _draw_lineage(row: QuestionRow, children: list[int]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"{t('question.source')}: {word('source', row.source)}", width="content")
        if row.parent_id is not None:
            _link(t("question.parent", id=row.parent_id), row.parent_id, ":material/arrow_upward:")
        for child in children:
            _link(t("question.child", id=child), child, ":material/subdirectory_arrow_right:")


def _link(label: str, question_id: int, icon: str) -> None:
    st.button(
        label,
        key=f"to_{question_id}",
        icon=icon,
        type="tertiary",
        on_click=url.put,
        args=("question", str(question_id)),
    )


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
        known = registry()
        with database().read() as session:
            models = [m for m in list_models(session) if m.path and Path(m.path).is_dir()]
        first, second, third, fourth = st.columns(4)
        with first:
            task = st.selectbox(
                t("question.mode"),
                [task for task in SHOWN_TASKS if _possible(task, row, reasonings)],
                format_func=lambda name: t(f"task.{name}"),
            )
        with second:
            formats = [
                name for name, one in known.formats.items() if task in one.definition.tasks.given()
            ]
            # A chat format needs the chat template of a model.
            wanted = "chat@1" if models else "tagged@1"
            first_choice = formats.index(wanted) if wanted in formats else 0
            form = st.selectbox(t("question.format"), formats, first_choice)
        with third:
            roles = list(known.roles)
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
    needs = TASKS[task].required
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
    known = registry()
    with database().read() as session:
        question = question_texts(session, [row.id])[0]
    try:
        tokenizer = _tokenizer(model.path, model.digest) if model and model.path else None
        prompt = render_question(
            question,
            known.format(form).definition,
            known.role(role).definition.system,
            task,
            tokenizer,
            reasonings=reasonings,
        )
    except Q2QError as error:
        st.warning(told(error))
        return
    st.caption(t("question.prompt_text"))
    st.code(prompt.text, language=None, wrap_lines=True)
    if not prompt.token_ids:
        st.caption(t("question.no_tokenizer"))
        return
    with st.expander(t("question.prompt_ids", n=len(prompt.token_ids))):
        st.code(numbered_ids(prompt.token_ids), language=None, wrap_lines=True)
