"""The results of a sweep: question by question, or as a table that the store filters and pages."""

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

import streamlit as st
from sqlalchemy.orm import Session

from db.models import list_models
from db.sweeps import sweep_plan
from db.texts.cards import question_card
from db.texts.lists import TextFilter, list_texts
from db.texts.rows import TextRow
from serving.checks import CHECKS
from workbench.ui.components import url
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import one_line, show_text
from workbench.ui.components.text_cards import draw_texts, open_how, panels_closed
from workbench.ui.questions.list import draw_facts

PAGE_SIZE = 25
KINDS: Final[tuple[Literal["variant", "answer"], ...]] = ("variant", "answer")
NO_FINDING = "none"


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
            shortcut=Key.LEFT,
            disabled=at <= 1,
            on_click=url.put,
            args=("at", str(at - 1)),
        )
        st.caption(t("results.question_of", i=at, n=n), width="content")
        st.button(
            t("results.next"),
            icon=":material/chevron_right:",
            icon_position="right",
            shortcut=Key.RIGHT,
            disabled=at >= n,
            on_click=url.put,
            args=("at", str(at + 1)),
        )
        st.space("stretch")
        page_link("questions", t("results.full_question"), "open_in_new", question=question_id)


def draw_table(sweep_id: int) -> None:
    """Draw the texts of the sweep that the filters in the URL let through."""
    wanted = _draw_filters(sweep_id)
    with database().read() as session:
        page = list_texts(session, wanted, url.number("page") or 1, PAGE_SIZE)
    if not page.rows:
        st.info(t("table.nothing"), icon=":material/filter_alt_off:")
        return
    found = counted("texts", page.total, is_capped=page.is_capped)
    st.caption(f"{found} · {t('table.select_hint')}")
    selected = st.dataframe(
        table_rows(page.rows),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        # A key for each page, and a new one once a panel is closed: its row can be chosen again.
        key=f"table_{sweep_id}_{page.page}_{panels_closed()}",
        column_config={
            t("table.column.text"): st.column_config.TextColumn(width=420),
            t("table.column.question"): st.column_config.TextColumn(width=220),
            t("table.column.checks"): st.column_config.ListColumn(width=170),
        },
    )
    url.pages("page", page.total, PAGE_SIZE)
    rows: list[int] = selected["selection"]["rows"]
    if rows and rows[0] < len(page.rows):
        open_how(page.rows[rows[0]].ref)


def _draw_filters(sweep_id: int) -> TextFilter:
    search = url.search_box("find", t("table.search"), t("table.search_hint"), resets=("page",))
    with database().read() as session:
        models = {
            model.name: model.id
            for model in list_models(session, with_removed=True, with_served=True)
        }
    with st.container(horizontal=True, key="filters"):
        draw = partial(url.filter_by, texts="table")
        kind = draw("kind", values=KINDS, show="table.kind")
        model = draw("model", values=tuple(models)) if len(models) > 1 else ()
        roles = dict.fromkeys(name.split("@")[0] for name in registry().roles)
        role = draw("role", values=tuple(roles), show="role")
        formats = draw("format", values=tuple(registry().formats))
        checks = draw("check", values=(NO_FINDING, *CHECKS), show="check")
        finish = draw("finish", values=("stop", "length"), show="finish")
    is_clean = checks == (NO_FINDING,)
    return TextFilter(
        kind=next((one for one in KINDS if one in kind), None),
        sweep_id=sweep_id,
        model_version_ids=tuple(models[name] for name in model),
        roles=role,
        formats=formats,
        with_flags=() if is_clean else checks,
        has_flags=False if is_clean else None,
        finish_reasons=finish,
        search=search,
    )


def table_rows(rows: Sequence[TextRow]) -> list[dict[str, object]]:
    """Return the lines of the table: short, on one line each, in the language of the visit."""
    return [
        {
            t("table.column.ref"): row.ref,
            t("table.column.kind"): t(f"table.kind.{row.kind}"),
            t("table.column.text"): one_line(row.text, 240),
            t("table.column.checks"): [word("check", name) for name in row.flags],
            t("table.column.question"): one_line(row.question, 80),
            t("table.column.tokens"): row.completion_tokens,
            t("table.column.finish"): word("finish", row.finish_reason)
            if row.finish_reason
            else "",
            t("table.column.model"): one_line(row.model or word("source", row.source), 40),
        }
        for row in rows
    ]
