"""The list of questions: search, filters, pages, add, export."""

from collections.abc import Iterable
from functools import partial

import streamlit as st

from db.questions import (
    QuestionFacets,
    QuestionFilter,
    QuestionRow,
    list_questions,
    question_facets,
    question_ids,
)
from serving.importers.fields import question_line
from workbench.ui.components import url
from workbench.ui.components.controls import download
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.labels import count
from workbench.ui.components.parts import card, empty_state, list_head
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line
from workbench.ui.home.next_step import examples_button
from workbench.ui.questions.forms import add_dialog

PAGE_SIZE = 12
CHUNK = 2_000
"""Questions that an export reads at once."""
FILTERS = ("find", "language", "role", "category", "tag", "results")
RESULTS = {"yes": True, "no": False}


def draw_list() -> None:
    """Draw the questions that the filters in the URL let through."""
    with database().read() as session:
        facets = question_facets(session)
    with list_head("questions"):
        if facets.total:
            _buttons()
    if not facets.total:
        _draw_empty()
        return
    wanted = _draw_filters(facets)
    with database().read() as session:
        page = list_questions(session, wanted, url.number("page") or 1, PAGE_SIZE)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(counted("questions", page.total, is_capped=page.is_capped), width="content")
        st.space("stretch")
        if page.total:
            download(
                t("questions.export"),
                partial(_export, wanted),
                "questions.jsonl",
                mime="application/jsonl",
                icon="upload",
                type="tertiary",
                help=t("questions.export_help"),
            )
    if not page.rows:
        _draw_nothing()
    for row in page.rows:
        _draw(row)
    url.pages("page", page.total, PAGE_SIZE)


def _export(wanted: QuestionFilter) -> bytes:
    with database().read() as session:
        ids = question_ids(session, wanted)
        chunks = [tuple(ids[i : i + CHUNK]) for i in range(0, len(ids), CHUNK)]
        pages = [list_questions(session, QuestionFilter(ids=one), 1, CHUNK) for one in chunks]
    return b"".join(as_jsonl(page.rows) for page in pages)


def _buttons() -> None:
    st.button(
        t("questions.import"), icon=":material/download:", on_click=url.put, args=("import", "1")
    )
    if st.button(t("questions.add"), type="primary", icon=":material/add:", shortcut="N"):
        add_dialog()


def _draw_empty() -> None:
    with empty_state("questions", "help_center", "questions.none"):
        examples_button(database())
        _buttons()


def _draw_nothing() -> None:
    with empty_state("nothing", "filter_alt_off", "questions.nothing"):
        st.button(t("questions.reset"), on_click=url.clear, args=(*FILTERS, "page"))


def _draw_filters(facets: QuestionFacets) -> QuestionFilter:
    search = url.search_box(
        "find", t("questions.search"), t("questions.search_hint"), resets=("page",)
    )
    with st.container(horizontal=True, key="filters"):
        language = _facet("language", facets.languages, "language")
        role = _facet("role", facets.roles, "role")
        category = _facet("category", facets.categories)
        tag = _facet("tag", facets.tags)
        results = url.choose(
            "results",
            t("questions.results"),
            tuple(RESULTS),
            lambda value: t(f"questions.results.{value}"),
            any_label=t("any"),
            resets=("page",),
        )
    return QuestionFilter(
        search=search,
        languages=_one(language),
        roles=_one(role),
        categories=_one(category),
        tags=_one(tag),
        has_answers=RESULTS.get(results or ""),
    )


def _facet(name: str, values: dict[str, int], words: str | None = None) -> str | None:
    def shown(value: str) -> str:
        return f"{word(words, value) if words else one_line(value, 40)} ({count(values[value])})"

    return url.choose(
        name,
        t(f"questions.{name}"),
        tuple(values),
        shown,
        any_label=t("any"),
        resets=("page",),
        help=t("questions.role_help") if name == "role" else None,
    )


def _one(value: str | None) -> tuple[str, ...]:
    return (value,) if value else ()


def _draw(row: QuestionRow) -> None:
    with card(f"question_{row.id}"), st.container(horizontal=True, vertical_alignment="center"):
        with st.container(width="stretch", gap="xsmall"):
            st.text(one_line(row.text, 220), width="stretch")
            draw_facts(row)
        st.button(
            t("questions.open"),
            key=f"open_{row.id}",
            icon=":material/arrow_forward:",
            icon_position="right",
            type="tertiary",
            on_click=url.put,
            args=("question", str(row.id)),
        )


def draw_facts(row: QuestionRow) -> None:
    """Draw what is known of a question besides its text, in one row of small badges."""
    with st.container(horizontal=True, gap="xsmall"):
        st.badge(row.ref, color="gray")
        st.badge(word("role", row.role), icon=":material/theater_comedy:", color="blue")
        if row.language:
            st.badge(word("language", row.language), icon=":material/language:", color="gray")
        if row.category:
            st.badge(escaped(row.category), color="violet")
        for tag in row.tags[:4]:
            st.badge(escaped(tag), icon=":material/sell:", color="gray")
        if row.n_variants or row.n_answers:
            st.badge(
                f"{counted('reasonings', row.n_variants)} · {counted('answers', row.n_answers)}",
                icon=":material/forum:",
                color="green",
            )


def as_jsonl(rows: Iterable[QuestionRow]) -> bytes:
    """Return questions as JSON lines in the keys that the import reads."""
    return "".join(f"{question_line(row)}\n" for row in rows).encode()
