"""The results of a sweep question by question; arrow keys turn the pages."""

import streamlit as st
from sqlalchemy.orm import Session

from db.sweeps import sweep_plan
from db.texts.cards import question_card
from workbench.ui.components import url
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.store import database
from workbench.ui.components.text import show_text
from workbench.ui.components.text_cards import draw_texts
from workbench.ui.questions.list import draw_facts


def shown_question(session: Session, sweep_id: int) -> tuple[int, int, int]:
    """Return the question that ``?at=`` names: its id, its place from 1, and how many there are."""
    ids = list(sweep_plan(session, sweep_id)["question_ids"])
    at = url.page_of("at", len(ids), 1)
    return ids[at - 1], at, len(ids)


def draw_cards(sweep_id: int) -> None:
    """Draw the question that ``?at=`` names, with what this sweep wrote for it."""
    with database().read() as session:
        question_id, at, n = shown_question(session, sweep_id)
        found = question_card(session, question_id, sweep_id)
    _draw_pager(at, n, question_id)
    with card("asked"):
        show_text(found.question.text)
        if found.question.context:
            st.caption(t("question.context"))
            show_text(found.question.context)
        draw_facts(found.question)
    if found.n_failed:
        st.badge(
            t("sweeps.failed", n=found.n_failed),
            icon=":material/error:",
            color="red",
            help=t("sweeps.failed_help"),
        )
    if not found.n_variants and not found.n_answers:
        st.caption(t("results.waiting"))
    draw_texts(found)


def _draw_pager(at: int, n: int, question_id: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        st.button(
            t("results.previous"),
            icon=":material/chevron_left:",
            shortcut="Left",
            disabled=at <= 1,
            on_click=url.put,
            args=("at", str(at - 1)),
        )
        st.caption(t("results.question_of", i=at, n=n), width="content")
        st.button(
            t("results.next"),
            icon=":material/chevron_right:",
            icon_position="right",
            shortcut="Right",
            disabled=at >= n,
            on_click=url.put,
            args=("at", str(at + 1)),
        )
        st.space("stretch")
        st.page_link(
            "ui/questions/page.py",
            label=t("results.full_question"),
            icon=":material/open_in_new:",
            query_params={"question": str(question_id)},
        )
