"""Explore: questions against their reasonings, filtered and paged by the store."""

from functools import partial

import streamlit as st

from db.rating.summaries import likings_counted
from db.texts.matrix import MatrixFilter, MatrixRow, matrix
from workbench.ui.components import url
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.parts import empty_state, heading, wait_for
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line
from workbench.ui.explore.cells import COLOURINGS, Colouring, draw_cell, open_item
from workbench.ui.explore.filters import FILTERS, draw_filters, read_facets

PAGE_SIZE = 20
MOST_CELLS = 4
WORDS = 150
"""Characters of a question in its row."""


def draw_matrix() -> None:
    """Draw the questions and cells that the filters in the URL let through."""
    heading(t("explore.title"), t("explore.lead"))
    facets = read_facets()
    if not facets.texts.models and not facets.questions.total:
        _draw_empty()
        return
    wanted = draw_filters(facets)
    if wanted.liking and not _is_counted(wanted):
        wait_for(t("explore.counting"), partial(_is_counted, wanted))
        return
    with database().read() as session:
        page = matrix(
            session,
            wanted,
            url.number("page") or 1,
            page_size=PAGE_SIZE,
            most_cells=MOST_CELLS,
        )
    if not page.rows:
        _draw_nothing(has_texts=bool(facets.texts.models))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(counted("questions", page.total, is_capped=page.is_capped), width="content")
        st.space("stretch")
        colouring = _choose_colouring()
    width = max(len(row.cells) for row in page.rows)
    for row in page.rows:
        _draw_row(row, width, colouring)
    url.pages("page", page.total, PAGE_SIZE)


def _is_counted(wanted: MatrixFilter) -> bool:
    with database().read() as session:
        return likings_counted(session, wanted.kinds)


def _choose_colouring() -> Colouring:
    chosen = url.segments(
        "colour", t("explore.colour"), COLOURINGS, lambda value: t(f"explore.colour.{value}")
    )
    return "finding" if chosen == "finding" else "rating"


def _draw_row(row: MatrixRow, width: int, colouring: Colouring) -> None:
    with st.container(key=f"row_q{row.question_id}"):
        question, *columns = st.columns([1.1, *([1] * width)], gap="small")
        with question, st.container(key=f"asked_q{row.question_id}", gap=None):
            st.button(
                escaped(one_line(row.words, WORDS)),
                key=f"open_q{row.question_id}",
                type="tertiary",
                wrap=True,
                width="stretch",
                on_click=open_item,
                args=(f"q{row.question_id}",),
            )
            facts = [f"**q{row.question_id}**", word("role", row.role)]
            facts += [word("language", row.language)] if row.language else []
            st.caption(" · ".join([facts[0], *map(escaped, facts[1:])]))
            if row.n_cells > len(row.cells):
                st.button(
                    t("explore.more", n=row.n_cells - len(row.cells)),
                    key=f"more_q{row.question_id}",
                    icon=":material/more_horiz:",
                    type="tertiary",
                    on_click=open_item,
                    args=(f"q{row.question_id}",),
                )
        for column, cell in zip(columns, row.cells, strict=False):
            with column:
                draw_cell(cell, colouring)


def _draw_empty() -> None:
    with empty_state(
        "explore", ":material/help_center:", t("questions.none.title"), t("questions.none.text")
    ):
        st.page_link("ui/questions/page.py", label=t("explore.to_questions"), icon=":material/add:")


def _draw_nothing(*, has_texts: bool) -> None:
    """Say that the filters let nothing through, or that there is nothing yet."""
    if has_texts or any(url.parameter(name) for name in FILTERS):
        with empty_state(
            "nothing",
            ":material/filter_alt_off:",
            t("questions.nothing.title"),
            t("questions.nothing.text"),
        ):
            st.button(t("questions.reset"), on_click=url.clear, args=(*FILTERS, "page"))
        return
    with empty_state(
        "texts", ":material/forum:", t("explore.no_texts.title"), t("explore.no_texts.text")
    ):
        st.page_link(
            "ui/sweeps/page.py",
            label=t("question.new_sweep"),
            icon=":material/add:",
            query_params={"new": "1"},
        )
