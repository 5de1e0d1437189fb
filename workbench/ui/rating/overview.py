"""A queue as its team sees it: how far each rater is, cards left for later, disagreements."""

from collections.abc import Sequence

import streamlit as st
from sqlalchemy.orm import Session

from db.questions import get_questions
from db.rating.assignment import closed_items
from db.rating.queues import ItemRow, QueueRow, raters_progress
from db.rating.ratings import HIGHEST, LOWEST, OK, PREFERENCE, Outcome, Target, list_raters
from db.texts.rows import read_texts
from workbench.rating.adjudication import (
    Disagreement,
    Said,
    adjudicate,
    disagreements,
    withdraw,
)
from workbench.rating.cards import CardRating, reopen
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import axis_label
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line, show_text

PER_PAGE = 5
MOST_LEFT = 50
OUTCOMES: tuple[tuple[Outcome, str], ...] = (
    ("a", "left_better"),
    ("tie", "tie"),
    ("both_bad", "both_bad"),
    ("b", "right_better"),
)
"""Sides stand as they are stored: the first text on the left."""


def draw_overview(queue: QueueRow, rater_id: int) -> None:
    """Draw all three."""
    _draw_raters(queue)
    _draw_left(queue, rater_id)
    _draw_disagreements(queue, rater_id)


def _draw_raters(queue: QueueRow) -> None:
    with database().read() as session:
        progress = raters_progress(session, queue)
        names = {one.id: one.name for one in list_raters(session, archived=None)}
    section(t("rate.overview.raters"))
    if not progress:
        st.caption(t("rate.overview.nobody"))
    for rater_id, one in sorted(progress.items(), key=lambda item: names[item[0]]):
        total = max(one.total, one.done)
        text = t("rate.progress", done=one.done, total=total)
        if one.skipped or one.discarded:
            text += f" · {t('rate.overview.of_these', skipped=one.skipped, aside=one.discarded)}"
        st.progress(one.done / total if total else 0.0, f"{escaped(names[rater_id])} · {text}")


def _draw_left(queue: QueueRow, rater_id: int) -> None:
    """Draw the cards that this rater skipped or put aside, each with the way back to it."""
    for state, name in (("skipped", "skipped"), ("discarded", "aside")):
        with database().read() as session:
            items = closed_items(session, queue.id, rater_id, state)  # type: ignore[arg-type]
            shown = items[:MOST_LEFT]
            asked = [item.target.question_id for item in shown]
            questions = {row.id: row.text for row in get_questions(session, sorted(set(asked)))}
        section(t(f"rate.overview.{name}", n=len(items)))
        if not items:
            st.caption(t(f"rate.overview.no_{name}"))
        for item in shown:
            with st.container(horizontal=True, vertical_alignment="center", key=f"left_{item.id}"):
                text = one_line(questions[item.target.question_id], 120)
                st.markdown(escaped(text), width="stretch")
                st.button(
                    t("rate.overview.reopen"),
                    key=f"reopen_{item.id}",
                    icon=":material/undo:",
                    type="tertiary",
                    on_click=_reopen,
                    args=(queue, rater_id, item.id),
                )


def _reopen(queue: QueueRow, rater_id: int, item_id: int) -> None:
    with errors_shown():
        reopen(database(), queue, rater_id, item_id)
        url.clear("view", "page")


def _draw_disagreements(queue: QueueRow, rater_id: int) -> None:
    with database().read() as session:
        found = disagreements(session, queue, url.number("page") or 1, PER_PAGE)
        texts = _texts(session, queue, [row.item for row in found.rows])
    section(t("rate.overview.disagree", n=found.total), t("rate.overview.disagree_help"))
    if not found.rows:
        st.caption(t("rate.overview.agree"))
    for row in found.rows:
        with card(f"disagree_{row.item.id}"):
            _draw_disagreement(queue, rater_id, row, texts)
    url.pages("page", found.total, PER_PAGE)


class _Texts(dict[Target | int, str]):
    """Question by id, text of a side by its target."""


def _texts(session: Session, queue: QueueRow, items: Sequence[ItemRow]) -> _Texts:
    sides = [side for item in items for side in (item.target, item.other) if side]
    asked = get_questions(session, sorted({side.question_id for side in sides}))
    variants = read_texts(session, "variant", [one.variant_id for one in sides if one.variant_id])
    answers = read_texts(session, "answer", [one.answer_id for one in sides if one.answer_id])
    found = _Texts({row.id: row.text for row in asked})
    for side in sides:
        parts = []
        if queue.scope in ("reasoning", "whole") and side.variant_id:
            parts.append(variants[side.variant_id].text)
        if side.answer_id:
            parts.append(answers[side.answer_id].text)
        found[side] = "\n\n".join(parts)
    return found


def _draw_disagreement(queue: QueueRow, rater_id: int, row: Disagreement, texts: _Texts) -> None:
    show_text(texts[row.item.target.question_id])
    sides = [side for side in (row.item.target, row.item.other) if side]
    if queue.scope != "question":
        for column, side in zip(st.columns(len(sides)), sides, strict=True):
            with column, card(f"settle_{row.item.id}_{side.variant_id}_{side.answer_id}"):
                show_text(texts[side])
    verdict = row.verdict
    for axis in row.axes:
        given = [one for one in row.said if one.axis == axis and not one.is_adjudication]
        said = " · ".join(f"{escaped(one.rater)}: {_said(one)}" for one in given)
        st.markdown(f"**{escaped(axis_label(axis, 'explore.axis'))}** {said}")
        if settled := verdict.get(axis):
            name = escaped(settled.rater)
            st.success(t("rate.overview.settled", name=name, said=_said(settled)))
    note = st.text_input(t("rate.panel.note"), key=f"settle_note_{row.item.id}")
    for axis in row.axes:
        _draw_choices(queue, rater_id, row, axis, note.strip() or None)
    if verdict:
        st.button(
            t("rate.overview.withdraw"),
            key=f"withdraw_{row.item.id}",
            icon=":material/undo:",
            type="tertiary",
            on_click=withdraw,
            args=(database(), row.item.id),
        )


def _draw_choices(
    queue: QueueRow, rater_id: int, row: Disagreement, axis: str, note: str | None
) -> None:
    """Draw a button for each thing that can be settled on an axis."""
    choices: list[tuple[str, CardRating]]
    if axis == PREFERENCE:
        choices = [
            (t(f"rate.{name}"), CardRating(outcome=one, note=note)) for one, name in OUTCOMES
        ]
    elif axis == OK:
        choices = [
            (t(f"rate.ok_{name}"), CardRating(values={OK: value}, note=note))
            for name, value in (("yes", 1.0), ("no", 0.0))
        ]
    else:
        choices = [
            (f"{value}", CardRating(values={axis: float(value)}, note=note))
            for value in range(LOWEST, HIGHEST + 1)
        ]
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        label = axis_label(axis, "explore.axis")
        st.caption(t("rate.overview.settle", axis=escaped(label)), width="content")
        for number, (text, rating) in enumerate(choices):
            if st.button(text, key=f"settle_{row.item.id}_{axis}_{number}"):
                with errors_shown():
                    adjudicate(database(), queue, rater_id, row.item.id, rating)
                    st.rerun()


def _said(one: Said) -> str:
    if one.outcome is not None:
        said = t(f"rate.{dict(OUTCOMES)[one.outcome]}")  # type: ignore[index]
    elif one.axis == OK:
        said = t("rate.ok_yes" if one.value else "rate.ok_no")
    else:
        said = f"{one.value:g}"
    return f"{said} ({escaped(one_line(one.note, 200))})" if one.note else said
