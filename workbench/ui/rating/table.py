"""A queue as a table: many cards on one page, rated or reviewed and corrected, saved together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from db.bulk import Page
from db.questions import QuestionRow, get_questions
from db.rating.queues import QueueRow
from db.rating.ratings import HIGHEST, LOWEST, OK, Outcome, Target
from db.settings import settings
from db.texts.rows import TextRow, read_texts
from workbench.rating.axes import Axis, load_axes
from workbench.rating.card_events import MAX_TAG
from workbench.rating.cards import CardRating
from workbench.rating.table import TableRow, save_table, table_page
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card, empty_state
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line, show_text
from workbench.ui.components.text_cards import draw_reference

PER_PAGE = 20
ROW_PX = 72
TEXT_PX, VALUE_PX = 150, 116
"""Widths of columns: the names of most axes fit beside the sign that they can be written in."""
MOST_CHARACTERS = 4_000
"""Of a text in its cell; below the table it stands in full."""
LEFT, RIGHT, EQUAL, BAD = "left", "right", "equal", "bad"
VERDICTS = (LEFT, EQUAL, BAD, RIGHT)
YES, NO = "yes", "no"
"""Cells hold codes, not words: the language may change while they wait to be saved."""
REVISION = "rate_table_revision"
"""Number of saves: with it the table begins anew from what is stored."""
UNSAVED = "unsaved"
"""Name of the draft's field: what is to be said, by item."""
SAID = TypeAdapter(CardRating)
_TEXTS = ("question", "context", "reasoning", "answer", "left", "right")


def draw_table(queue: QueueRow, rater_id: int) -> None:
    """Draw one page of the table, and what stands under it."""
    page_number = url.number("page") or 1
    with database().read() as session:
        found = table_page(session, queue, rater_id, page_number, PER_PAGE)
        texts = _texts(session, queue, found)
    draft = table_draft(queue.id, rater_id)
    if not found.rows:
        which = "none" if queue.way == "table" else "unrated"
        empty_state("table", "table_rows", f"rate.table.{which}")
        return
    axes = load_axes(settings().home_dir).get(queue.scope, [])
    st.caption(t("rate.table.lead" if queue.way == "table" else "rate.table.review_lead"))
    if draft.take_news():
        _begin_anew()
    draft.draw_notice()
    revision = f"{st.session_state.setdefault(REVISION, 0)}_{draft.n_forgotten}"
    key = f"rate_table_{queue.id}_{rater_id}_{found.page}_{revision}"
    # What was changed before the table is drawn afresh, on an earlier look at this page of it too:
    # it stands in the cells from the start.
    if key not in st.session_state:
        st.session_state[f"begun_{key}"] = _unsaved(draft)
    begun: dict[int, CardRating] = st.session_state[f"begun_{key}"]
    rows = [replace(row, rated=begun.get(row.item.id, row.rated)) for row in found.rows]
    frame = _frame(queue, rows, texts, axes)
    edited = st.data_editor(
        frame,
        key=key,
        hide_index=True,
        disabled=[name for name in frame.columns if name in ("no", *_TEXTS)],
        column_config=_columns(queue, axes),
        row_height=ROW_PX,
        height=min(620, 40 + ROW_PX * len(frame)),
        num_rows="fixed",
        placeholder="–",
    )
    changes = _changes(found.rows, rows, frame, edited)
    _keep(draft, found.rows, changes)
    with st.container(horizontal=True, vertical_alignment="center", key="rate_table_bar"):
        st.button(
            t("rate.table.save", n=len(changes)),
            key=f"save_{key}",
            shortcut=Key.SAVE,
            type="primary",
            icon=":material/save:",
            disabled=not changes,
            on_click=_save,
            args=(queue, rater_id, changes, draft),
        )
        if changes:
            st.caption(t("rate.table.unsaved", n=len(changes)))
        st.space("stretch")
        url.pages("page", found.total, PER_PAGE)
    _draw_reader(queue, found, texts)


class _Texts:
    """The words of a page of items."""

    def __init__(
        self,
        questions: dict[int, QuestionRow],
        variants: dict[int, TextRow],
        answers: dict[int, TextRow],
    ) -> None:
        self.questions, self.variants, self.answers = questions, variants, answers

    def reasoning(self, target: Target) -> str:
        row = self.variants.get(target.variant_id or 0)
        return row.text if row else ""

    def answer(self, target: Target) -> str:
        row = self.answers.get(target.answer_id or 0)
        return row.text if row else ""


def _texts(session: Session, queue: QueueRow, found: Page[TableRow]) -> _Texts:
    targets = [side for row in found.rows for side in (row.item.target, row.item.other) if side]
    asked = sorted({target.question_id for target in targets})
    variants = sorted({target.variant_id for target in targets if target.variant_id})
    answers = sorted({target.answer_id for target in targets if target.answer_id})
    return _Texts(
        {row.id: row for row in get_questions(session, asked)},
        read_texts(session, "variant", variants),
        read_texts(session, "answer", answers),
    )


def _frame(
    queue: QueueRow, rows: Sequence[TableRow], texts: _Texts, axes: Sequence[Axis]
) -> pd.DataFrame:
    """Return a line for each item: its number, its words, and what is said of it."""
    lines = []
    for number, row in enumerate(rows, start=1):
        question = texts.questions[row.item.target.question_id]
        line: dict[str, Any] = {"no": number, "question": _short(question.text)}
        if row.item.other is not None:
            left, right = _sides(row)
            line["left"], line["right"] = (
                _texts_shown(queue, left, texts),
                _texts_shown(queue, right, texts),
            )
            line["verdict"] = _verdict(row)
        else:
            if queue.scope == "question":
                line["context"] = _short(question.context)
            else:
                line["reasoning"] = _short(texts.reasoning(row.item.target))
            if row.item.target.answer_id is not None:
                line["answer"] = _short(texts.answer(row.item.target))
            for axis in axes:
                value = row.rated.values.get(axis.name)
                line[axis.name] = None if value is None else int(value)
            ok = row.rated.values.get(OK)
            line[OK] = None if ok is None else YES if ok else NO
        line["tags"] = ", ".join(row.rated.tags)
        lines.append(line)
    frame = pd.DataFrame(lines)
    for axis in axes:
        if axis.name in frame:
            frame[axis.name] = frame[axis.name].astype("Int64")
    return frame


def _columns(queue: QueueRow, axes: Sequence[Axis]) -> dict[str, Any]:
    language = current_language()
    config: dict[str, Any] = {"no": st.column_config.NumberColumn("", width=40)}
    for name in _TEXTS:
        config[name] = st.column_config.TextColumn(t(f"rate.table.{name}"), width=TEXT_PX)
    for axis in axes:
        label = axis.label_in(axis.label, language)
        low, high = axis.label_in(axis.low, language), axis.label_in(axis.high, language)
        config[axis.name] = st.column_config.NumberColumn(
            one_line(label, 40),
            min_value=LOWEST,
            max_value=HIGHEST,
            step=1,
            width=VALUE_PX,
            help=escaped(f"{LOWEST} {low} · {HIGHEST} {high}"),
        )
    config[OK] = st.column_config.SelectboxColumn(
        t("rate.ok"),
        options=[YES, NO],
        format_func=lambda code: t(f"rate.ok_{code}"),
        width=VALUE_PX,
    )
    config["tags"] = st.column_config.TextColumn(
        t("rate.tags"), help=t("rate.table.tags_help"), max_chars=300
    )
    config["verdict"] = st.column_config.SelectboxColumn(
        t("rate.table.verdict"), options=VERDICTS, format_func=_verdict_word, required=True
    )
    return config


def _changes(
    stored: Sequence[TableRow],
    rows: Sequence[TableRow],
    before: pd.DataFrame,
    after: pd.DataFrame,
) -> dict[int, CardRating]:
    """Return what is to be said of each item of which something else is stored.

    Args:
        stored: What the rater said so far.
        rows: The same, with what was changed before the table was drawn.
        before: The table as it was drawn, a line for each row.
        after: The table as it stands.
    """
    changed: dict[int, CardRating] = {}
    for place, (known, row) in enumerate(zip(stored, rows, strict=True)):
        old, new = before.iloc[place].to_dict(), after.iloc[place].to_dict()
        is_edited = any(_value(old[name]) != _value(new[name]) for name in old)
        entry = _judgement(row, new) if is_edited else row.rated
        if entry != known.rated:
            changed[row.item.id] = entry
    return changed


def table_draft(queue_id: int, rater_id: int) -> FormDraft:
    """Return what a rater changed in a queue's table and has not saved, on all its pages."""
    return FormDraft(f"table-{queue_id}-{rater_id}")


def _unsaved(draft: FormDraft) -> dict[int, CardRating]:
    stored = draft.values.get(UNSAVED)
    if not isinstance(stored, dict):
        return {}
    return {int(item): SAID.validate_python(entry) for item, entry in stored.items()}


def _keep(draft: FormDraft, rows: Sequence[TableRow], changes: Mapping[int, CardRating]) -> None:
    """Keep the changes to the rows of this page, beside those of other pages."""
    here = {row.item.id for row in rows}
    stored = {item: entry for item, entry in _unsaved(draft).items() if item not in here}
    stored |= changes
    as_json = {str(item): SAID.dump_python(entry, mode="json") for item, entry in stored.items()}
    draft.keep(UNSAVED, as_json, {})


def _begin_anew() -> None:
    st.session_state[REVISION] = st.session_state.get(REVISION, 0) + 1


def _judgement(row: TableRow, line: Mapping[str, Any]) -> CardRating:
    if row.item.other is not None:
        outcome = _outcome(_value(line["verdict"]), row.swapped)
        return CardRating(outcome=outcome, values={}, tags=_tags(line))
    values = {
        name: float(value)
        for name, cell in line.items()
        if name not in ("no", "tags", OK, *_TEXTS) and (value := _value(cell)) is not None
    }
    ok = _value(line[OK])
    if ok is not None:
        values[OK] = float(ok == YES)
    return CardRating(values=values, tags=_tags(line))


def _tags(line: Mapping[str, Any]) -> tuple[str, ...]:
    given = str(_value(line["tags"]) or "").replace("、", ",").split(",")
    tags = dict.fromkeys(tag.strip()[:MAX_TAG] for tag in given)
    return tuple(tag for tag in tags if tag)


def _save(
    queue: QueueRow, rater_id: int, changes: Mapping[int, CardRating], draft: FormDraft
) -> None:
    with errors_shown():
        saved = save_table(database(), queue, rater_id, changes)
        others = {item: entry for item, entry in _unsaved(draft).items() if item not in changes}
        draft.keep(UNSAVED, {}, {})
        _keep(draft, (), others)
        _begin_anew()
        st.toast(t("rate.table.saved", n=saved.changed), icon=":material/check:")
        if saved.taken:
            st.toast(t("rate.table.taken", n=saved.taken), icon=":material/group:")


def _draw_reader(queue: QueueRow, found: Page[TableRow], texts: _Texts) -> None:
    """Draw one line of the table in full."""
    with st.expander(t("rate.table.read")):
        number = st.number_input(t("rate.table.read_which"), 1, len(found.rows), 1)
        row = found.rows[int(number) - 1]
        question = texts.questions[row.item.target.question_id]
        show_text(question.text)
        if question.context:
            st.caption(t("question.context"))
            show_text(question.context)
        if queue.way != "table" or queue.spec.get("reference") == "before":
            draw_reference(question)  # of cards, this table is the look back
        sides = [row.item.target] if row.item.other is None else list(_sides(row))
        for column, side in zip(st.columns(len(sides)), sides, strict=True):
            with column, card(f"read_{side.variant_id}_{side.answer_id}"):
                if side.variant_id is not None:
                    show_text(texts.reasoning(side))
                if side.answer_id is not None:
                    st.caption(t("rate.its_answer"))
                    show_text(texts.answer(side))


def _sides(row: TableRow) -> tuple[Target, Target]:
    assert row.item.other is not None
    first, other = row.item.target, row.item.other
    return (other, first) if row.swapped else (first, other)


def _texts_shown(queue: QueueRow, side: Target, texts: _Texts) -> str:
    parts = []
    if queue.scope in ("reasoning", "whole"):
        parts.append(texts.reasoning(side))
    if side.answer_id is not None:
        parts.append(texts.answer(side))
    return _short("\n\n".join(parts))


def _verdict(row: TableRow) -> str | None:
    if row.rated.outcome is None:
        return None
    place = {"tie": EQUAL, "both_bad": BAD}.get(row.rated.outcome)
    return place or (LEFT if (row.rated.outcome == "b") == row.swapped else RIGHT)


def _outcome(place: str | None, swapped: bool) -> Outcome | None:
    if place in (LEFT, RIGHT):
        return "b" if (place == LEFT) == swapped else "a"
    return {EQUAL: "tie", BAD: "both_bad"}.get(place or "")  # type: ignore[return-value]


def _verdict_word(place: object) -> str:
    names = {LEFT: "left_better", RIGHT: "right_better", EQUAL: "tie", BAD: "both_bad"}
    return t(f"rate.{names[str(place)]}")


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _value(cell: Any) -> Any:
    return None if cell is None or pd.isna(cell) or cell == "" else cell
