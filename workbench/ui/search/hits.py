"""Questions, reasonings, answers and named things that hold the words typed."""

from collections.abc import Sequence

import streamlit as st

from db.lineage.nodes import LineageGroup, find_named
from db.questions import QuestionFilter, list_questions
from db.texts.lists import TextFilter, list_texts
from workbench.ui.components import url
from workbench.ui.components.controls import ITEM_PAGES, page_link
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card, empty_state, heading
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line

FOUND = 5
"""Shown of each kind of text; the lists have all."""
MOST_CHARACTERS = 160


def draw_search() -> None:
    """Draw the box and, for what it holds, what was found."""
    heading(t("search.title"), t("search.lead"))
    query = url.search_box("find", t("search.title"), t("search.hint"))
    if not query:
        empty_state("search", "search", "search.start")
        return
    with database().read() as session:
        named = find_named(session, query)
        questions = list_questions(session, QuestionFilter(search=query), 1, FOUND)
        texts = {
            kind: list_texts(session, TextFilter(kind=kind, search=query), 1, FOUND)
            for kind in ("variant", "answer")
        }
    if not (named or questions.total or any(page.total for page in texts.values())):
        empty_state("nothing", "search_off", "search.none")
        return
    for group in named:
        _draw_named(group)
    _draw_found("question", [(f"q{row.id}", row.text) for row in questions.rows], questions.total)
    for kind, page in texts.items():
        rows = [(f"{kind[0]}{row.id}", row.text) for row in page.rows]
        _draw_found(kind, rows, page.total)
    if questions.total > FOUND:
        page_link("questions", t("search.all_questions"), "help_center", find=query)
    if any(page.total > FOUND for page in texts.values()):
        page_link("explore", t("search.all_texts"), "travel_explore", find=query)


def _draw_named(group: LineageGroup) -> None:
    page, name, icon = ITEM_PAGES[group.nodes[0].kind]
    with card(f"found_{page}", gap="xsmall"):
        _draw_title(t(f"nav.{page}"), group.total)
        for node in group.nodes:
            label = one_line(node.label, MOST_CHARACTERS) or t("text.empty")
            page_link(page, escaped(label), icon, **{name: node.id})


def _draw_found(kind: str, rows: Sequence[tuple[str, str]], total: int) -> None:
    if not rows:
        return
    with card(f"found_{kind}", gap="xsmall"):
        _draw_title(t(f"search.kind.{kind}"), total)
        for name, text in rows:
            beginning = one_line(text, MOST_CHARACTERS) or t("text.empty")
            page_link("explore", f"{name} · {escaped(beginning)}", None, id=name)


def _draw_title(title: str, total: int) -> None:
    st.markdown(f"**{title}** :gray[{total:,}]")
