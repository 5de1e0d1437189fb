"""A card of two: left and right in random order; one press rates and lays down the next."""

from collections.abc import Callable

import streamlit as st

from db.dealing import Card
from db.queues import QueueRow
from db.ratings import Outcome, Target
from db.text_rows import TextRow
from workbench.rating.desk import Verdict, say
from workbench.ui.i18n import t
from workbench.ui.parts import card
from workbench.ui.store import database
from workbench.ui.text import show_marked, show_text

MARKED = "rate_marked"
"""Texts are drawn as Markdown."""


def draw_pair(
    queue: QueueRow,
    rater_id: int,
    dealt: Card,
    reasonings: dict[int, TextRow],
    answers: dict[int, TextRow],
) -> None:
    """Draw both sides and the four verdicts."""
    first, other = dealt.item.target, dealt.item.other
    assert other is not None
    left, right = (other, first) if dealt.swapped else (first, other)
    if queue.scope == "answer" and first.variant_id in reasonings:
        with card("given"):
            st.caption(t("rate.given"))
            show_text(reasonings[first.variant_id].text)
    for column, side, name in zip(st.columns(2), (left, right), ("left", "right"), strict=True):
        with column, card(f"side_{name}"):
            st.caption(t(f"rate.{name}"))
            draw_side(queue, side, reasonings, answers)
    _draw_verdicts(queue, rater_id, dealt)


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


def draw_marked_button() -> None:
    """Draw the switch between plain text and Markdown; it holds for the visit."""
    st.button(
        t("rate.plain" if st.session_state.get(MARKED) else "rate.marked"),
        key="marked_button",
        shortcut="D",
        icon=":material/format_list_bulleted:",
        type="tertiary",
        help=t("rate.marked_help"),
        on_click=_turn_marked,
    )


def _turn_marked() -> None:
    st.session_state[MARKED] = not st.session_state.get(MARKED)


def press(act: Callable[..., object], *args: object) -> None:
    """Do what a button stands for; the page is drawn anew from the store."""
    act(database(), *args)


def _draw_verdicts(queue: QueueRow, rater_id: int, dealt: Card) -> None:
    better: tuple[Outcome, Outcome] = ("b", "a") if dealt.swapped else ("a", "b")
    verdicts: list[tuple[str, str, str, Outcome]] = [
        ("rate.left_better", "Left", ":material/arrow_back:", better[0]),
        ("rate.tie", "T", ":material/drag_handle:", "tie"),
        ("rate.both_bad", "B", ":material/thumb_down:", "both_bad"),
        ("rate.right_better", "Right", ":material/arrow_forward:", better[1]),
    ]
    with st.container(key="rate_bar"):
        for column, (name, key, icon, outcome) in zip(st.columns(4), verdicts, strict=True):
            verdict = Verdict(outcome=outcome, answer_seen=bool(dealt.draft.get("answer_seen")))
            column.button(
                t(name),
                key=f"{name}_{dealt.id}",
                shortcut=key,
                icon=icon,
                width="stretch",
                on_click=press,
                args=(say, queue, rater_id, dealt.id, verdict),
            )
