"""A card of two: left and right in random order."""

import streamlit as st

from db.rating.assignment import Card
from db.rating.queues import QueueRow
from db.rating.ratings import Target
from db.texts.rows import TextRow
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.text import show_marked, show_text

MARKED = "rate_marked"
"""Texts are drawn as Markdown."""


def draw_pair(
    queue: QueueRow, dealt: Card, reasonings: dict[int, TextRow], answers: dict[int, TextRow]
) -> None:
    """Draw both sides."""
    first = dealt.item.target
    if queue.scope == "answer" and first.variant_id in reasonings:
        with card("given"):
            st.caption(t("rate.given"))
            show_text(reasonings[first.variant_id].text)
    for column, side, name in zip(st.columns(2), sides(dealt), ("left", "right"), strict=True):
        assert side is not None
        with column, card(f"side_{name}"):
            st.caption(t(f"rate.{name}"))
            draw_side(queue, side, reasonings, answers)


def draw_side(
    queue: QueueRow, side: Target, reasonings: dict[int, TextRow], answers: dict[int, TextRow]
) -> None:
    """Draw what is rated of one target; of a whole, the reasoning and its answer."""
    show = show_marked if st.session_state.get(MARKED) else show_text
    if queue.scope in ("reasoning", "whole") and side.variant_id in reasonings:
        show(reasonings[side.variant_id].text)
    if side.answer_id is not None:
        if queue.scope == "whole":
            st.caption(t("rate.its_answer"))
        show(answers[side.answer_id].text)


def sides(dealt: Card) -> tuple[Target, Target | None]:
    """Return what lies left and right."""
    if dealt.swapped and dealt.item.other:
        return dealt.item.other, dealt.item.target
    return dealt.item.target, dealt.item.other
