"""Two texts of one question side by side, what differs marked word by word."""

import streamlit as st

from db.errors import UsageError
from db.identity import Ref, parse_ref
from db.questions import get_question
from db.texts.provenance import ItemText, item_text, question_of
from workbench.ui.components import url
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import back_link, card, head_row, heading
from workbench.ui.components.store import database
from workbench.ui.components.text import MOST_CHARACTERS, one_line, show_text
from workbench.ui.components.word_diff import marked_sides
from workbench.ui.explore.cells import open_item
from workbench.ui.explore.item import leave, missing, title

MOST_WORDS = 2_000
"""Of a text that is compared word by word; longer ones would take too long."""
VIEWS = ("marked", "plain")


def draw_comparison(name: str, other: str) -> None:
    """Draw the texts called ``name`` and ``other``, or say what is wrong with them."""
    back_link(t("explore.back"), leave)
    try:
        refs = parse_ref(name), parse_ref(other)
        with database().read() as session:
            questions = {question_of(session, ref) for ref in refs}
            texts = [item_text(session, ref, MOST_CHARACTERS) for ref in refs]
            question = get_question(session, min(questions))
    except UsageError:
        missing(f"{name}, {other}")
        return
    if len(questions) > 1:
        st.error(t("explore.other_question", a=str(refs[0]), b=str(refs[1])))
        return
    with head_row("compare"):
        with st.container(width="content"):
            heading(t("explore.compare_title", a=str(refs[0]), b=str(refs[1])))
        st.space("stretch")
        view = url.segments(
            "view", t("explore.compare"), VIEWS, lambda value: t(f"explore.view.{value}")
        )
    st.text(one_line(question.text, 300), width="stretch")
    _draw_sides(refs, texts, is_marked=view == "marked")


def _draw_sides(refs: tuple[Ref, Ref], texts: list[ItemText], *, is_marked: bool) -> None:
    before, after = (text.text for text in texts)
    marked = marked_sides(before, after, MOST_WORDS) if is_marked else None
    if marked:
        st.caption(t("explore.marked", a=str(refs[0]), b=str(refs[1])))
    elif is_marked:
        st.caption(t("explore.too_long", most=MOST_WORDS))
    for side, (column, ref, text) in enumerate(zip(st.columns(2), refs, texts, strict=True)):
        with column, card(f"side_{side}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{title(ref)}**", width="content")
                st.space("stretch")
                st.button(
                    t("questions.open"),
                    key=f"open_{side}",
                    icon=":material/arrow_forward:",
                    type="tertiary",
                    on_click=open_item,
                    args=(str(ref),),
                )
            if marked and marked[side].strip():
                st.markdown(marked[side])
            else:
                show_text(text.text)
            if text.n_characters > len(text.text):
                st.caption(t("explore.cut", shown=len(text.text), total=text.n_characters))
