"""A card of one: a value from 1 to 5 on each axis, OK or not, tags; Enter submits."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from db.dealing import Card, keep_draft
from db.queues import QueueRow
from db.ratings import HIGHEST, LOWEST, OK
from db.text_rows import TextRow
from workbench.rating.axes import Axis
from workbench.rating.desk import Verdict, say
from workbench.ui.i18n import current_language, t
from workbench.ui.parts import card, focus
from workbench.ui.rate_pair import draw_side
from workbench.ui.store import database
from workbench.ui.text import escaped, show_text

TAGS = "tags"
SEEN = "answer_seen"


def draw_single(
    queue: QueueRow,
    rater_id: int,
    dealt: Card,
    reasonings: dict[int, TextRow],
    answers: dict[int, TextRow],
    axes: Sequence[Axis],
) -> None:
    """Draw the text and its axes. Keys 1 to 5 rate the first axis that has no value yet."""
    target = dealt.item.target
    if queue.scope == "answer" and target.variant_id in reasonings:
        with card("given"):
            st.caption(t("rate.given_one"))
            show_text(reasonings[target.variant_id].text)
    if queue.scope != "question":
        with card("side_only"):
            draw_side(queue, target, reasonings, answers)
    entered = dealt.draft
    waiting = next((axis.name for axis in axes if axis.name not in entered), None)
    with card("axes", gap="xsmall"):
        for axis in axes:
            _draw_axis(axis, rater_id, dealt, has_keys=axis.name == waiting)
        _draw_ok(rater_id, dealt)
        tags = _draw_tags(dealt)
    _draw_submit(queue, rater_id, dealt, tags)


def _draw_axis(axis: Axis, rater_id: int, dealt: Card, *, has_keys: bool) -> None:
    language = current_language()
    name, buttons = st.columns([2, 5], vertical_alignment="center")
    with name, st.container(gap=None):
        label = escaped(axis.said(axis.label, language))
        st.markdown(f"**:primary[{label}]**" if has_keys else f"**{label}**")
        st.caption(
            f"{LOWEST} {escaped(axis.said(axis.low, language))} · "
            f"{HIGHEST} {escaped(axis.said(axis.high, language))}"
        )
    # A row of its own, since columns would stand one below the other on a narrow screen.
    with buttons, st.container(horizontal=True, gap="xsmall", key=f"values_{axis.name}"):
        for value in range(LOWEST, HIGHEST + 1):
            chosen = dealt.draft.get(axis.name) == value
            st.button(
                str(value),
                key=f"{axis.name}_{value}_{dealt.id}",
                shortcut=str(value) if has_keys else None,
                type="primary" if chosen else "secondary",
                width="stretch",
                on_click=_enter,
                args=(rater_id, dealt, axis.name, value),
            )


def _draw_ok(rater_id: int, dealt: Card) -> None:
    name, buttons = st.columns([2, 5], vertical_alignment="center")
    name.markdown(f"**{t('rate.ok')}**", help=t("rate.ok_help"))
    with buttons, st.container(horizontal=True, gap="xsmall"):
        for key, value, label in (("Y", 1, t("rate.ok_yes")), ("N", 0, t("rate.ok_no"))):
            st.button(
                label,
                key=f"ok_{value}_{dealt.id}",
                shortcut=key,
                type="primary" if dealt.draft.get(OK) == value else "secondary",
                width="stretch",
                on_click=_enter,
                args=(rater_id, dealt, OK, value),
            )


def _draw_tags(dealt: Card) -> list[str]:
    return st.multiselect(
        t("rate.tags"),
        st.session_state.get("rate_tags_known", []),
        key=f"{TAGS}_{dealt.id}",
        accept_new_options=True,
        placeholder=t("rate.tags_placeholder"),
        max_selections=10,
    )


def draw_tags_button(dealt: Card) -> None:
    """Draw the key that puts the cursor into the tags."""
    if st.button(
        t("rate.tags"),
        key=f"to_tags_{dealt.id}",
        shortcut="G",
        icon=":material/label:",
        type="tertiary",
    ):
        focus(f"{TAGS}_{dealt.id}")


def _draw_submit(queue: QueueRow, rater_id: int, dealt: Card, tags: list[str]) -> None:
    values = {name: float(value) for name, value in dealt.draft.items() if name not in (TAGS, SEEN)}
    verdict = Verdict(
        values=values,
        tags=tuple(tag.strip()[:60] for tag in tags if tag.strip()),
        answer_seen=bool(dealt.draft.get(SEEN)),
    )
    st.button(
        t("rate.submit"),
        key=f"submit_{dealt.id}",
        shortcut="Enter",
        icon=":material/check:",
        type="primary",
        width="stretch",
        disabled=verdict.is_empty,
        on_click=_submit,
        args=(queue, rater_id, dealt, verdict),
    )


def _submit(queue: QueueRow, rater_id: int, dealt: Card, verdict: Verdict) -> None:
    known = st.session_state.get("rate_tags_known", [])
    st.session_state["rate_tags_known"] = list(dict.fromkeys([*known, *verdict.tags]))
    say(database(), queue, rater_id, dealt.id, verdict)


def _enter(rater_id: int, dealt: Card, name: str, value: Any) -> None:
    with database().write() as session:
        keep_draft(session, dealt, rater_id, {**dealt.draft, name: value})
