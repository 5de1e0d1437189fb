"""A card of one: the text that is rated, and the reasoning that an answer stands under."""

import streamlit as st

from db.rating.assignment import Card
from db.rating.queues import QueueRow
from db.texts.rows import TextRow
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.text import show_text
from workbench.ui.rating.pair import draw_side


def draw_single(
    queue: QueueRow, dealt: Card, reasonings: dict[int, TextRow], answers: dict[int, TextRow]
) -> None:
    """Draw the text; of a question there is none beside the question itself."""
    target = dealt.item.target
    if queue.scope == "answer" and target.variant_id in reasonings:
        with card("given"):
            st.caption(t("rate.given_one"))
            show_text(reasonings[target.variant_id].text)
    if queue.scope != "question":
        with card("side_only"):
            draw_side(queue, target, reasonings, answers)
