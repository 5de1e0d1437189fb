"""One question: its text, where it comes from, its reasonings and answers, the exact prompt."""

import streamlit as st

from db.errors import Q2QError
from db.questions import QuestionRow
from db.texts.cards import question_card
from workbench.ui.components import url
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import back_link, card, empty_state, head_row, heading, section
from workbench.ui.components.store import database
from workbench.ui.components.store_reads import child_ids
from workbench.ui.components.text import show_text
from workbench.ui.components.text_cards import draw_texts
from workbench.ui.questions.forms import edit_dialog
from workbench.ui.questions.list import draw_facts
from workbench.ui.questions.prompt_panel import draw_prompt
from workbench.ui.questions.view import as_jsonl


def draw_question(question_id: int) -> None:
    """Draw the question, or say that there is none."""
    back_link(t("questions.back"), _leave)
    try:
        with database().read() as session:
            found = question_card(session, question_id)
            children = child_ids(session, question_id)
    except Q2QError:
        st.error(t("questions.missing", id=question_id))
        return
    row = found.question
    with head_row("question"):
        with st.container(width="stretch"):
            heading(t("question.heading", id=row.id))
        st.download_button(
            t("questions.export"),
            as_jsonl([row]),
            f"{row.ref}.jsonl",
            icon=":material/upload:",
            type="tertiary",
            on_click="ignore",
        )
        if st.button(t("question.edit"), icon=":material/edit:"):
            edit_dialog(row)
    _draw_text(row)
    _draw_lineage(row, children)
    section(t("question.texts"))
    if found.n_variants or found.n_answers:
        draw_texts(found)
    else:
        with empty_state(
            "texts", ":material/forum:", t("question.no_texts.title"), t("question.no_texts.text")
        ):
            st.page_link(
                "ui/sweeps/page.py",
                label=t("question.new_sweep"),
                icon=":material/add:",
                query_params={"new": "1"},
            )
    draw_prompt(row, tuple(one.variant.text for one in found.variants[:2]))


def _leave() -> None:
    url.clear("question")


def _draw_text(row: QuestionRow) -> None:
    with card("question"):
        show_text(row.text)
        if row.context:
            st.caption(t("question.context"), help=t("question.context_help"))
            show_text(row.context)
        if row.reference_answer:
            st.caption(t("question.reference"), help=t("question.reference_help"))
            show_text(row.reference_answer)
        draw_facts(row)


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
