"""One row of a rating file understood by itself: each field has its type, and they fit together."""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, cast, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.identity import question_hash, text_hash
from db.rating.ratings import (
    FLAG,
    OK,
    PREFERENCE,
    RESERVED,
    TAG,
    Outcome,
    Scope,
    Target,
    rater_name,
    why_wrong,
)
from db.tables import Answer, Question, ReasoningVariant
from workbench.rating.axes import Axis

RaterKind = Literal["person", "model"]
FIRST_YEAR: Final = 1970
LONGEST_S: Final = 86_400.0
"""A card that is said to have taken longer than a day is a mistake."""
_LETTERS: Final = {"question_id": "q", "variant_id": "v", "answer_id": "a"}
_YES, _NO = ("true", "1", "yes", "1.0"), ("false", "0", "no", "0.0")


class RowRefusedError(Exception):
    """A row cannot be used; ``what`` says why and what to do."""

    def __init__(self, column: str | None, what: str) -> None:
        super().__init__(what)
        self.column, self.what = column, what


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingFields:
    """What a row says, before its texts are looked for in the store."""

    scope: Scope
    axis: str
    wording: Axis | None
    """How the axis was worded, where the row tells it."""
    value: float | None
    outcome: Outcome | None
    label: str | None
    rater: str
    rater_kind: RaterKind
    rater_model: str | None
    """Name of the model that rates, where the rater is one."""
    blind: bool
    swapped: bool | None
    answer_seen: bool
    sampler: str | None
    seconds: float | None
    card_id: str | None
    is_adjudication: bool
    note: str | None
    created_at: datetime | None


def understand(
    row: Mapping[str, Any], axes: Mapping[Scope, Collection[str]], file: str
) -> RatingFields:
    """Return what ``row`` says.

    Args:
        row: Lower-case names of columns, and values.
        axes: Scope → names of its axes.
        file: Name of the file: the sampler of rows that have neither a sampler nor a card.

    Raises:
        RowRefusedError: A field is wrong, or two do not go together.
    """
    scope = cast(Scope, one_of(row, "scope", get_args(Scope)))
    outcome = one_of(row, "outcome", get_args(Outcome)) if given(row, "outcome") else None
    value, label = number(row, "value"), text_of(row, "label")
    axis = given(row, "axis") or (PREFERENCE if outcome else None)
    if axis is None:
        raise RowRefusedError("axis", "is empty; name what was rated, or fill in outcome.")
    _check_axis(scope, axis, axes)
    if axis == PREFERENCE and scope == "question":
        raise RowRefusedError("axis", "compares questions; they are rated one at a time.")
    _check_value(axis, value, outcome, label)
    card_id = given(row, "card_id")
    is_model = bool(given(row, "rater_kind")) and _rater_kind(row) == "model"
    if is_model and flag(row, "adjudication"):
        raise RowRefusedError("adjudication", "is true of a model; people settle. Write false.")
    return RatingFields(
        scope=scope,
        axis=axis,
        wording=_wording(row, axis),
        value=value,
        outcome=cast(Outcome | None, outcome),
        label=label,
        rater=_rater(row),
        rater_kind="model" if is_model else "person",
        rater_model=given(row, "rater_model") if is_model else None,
        blind=bool(flag(row, "blind")),
        swapped=flag(row, "swapped"),
        answer_seen=bool(flag(row, "answer_seen")),
        sampler=given(row, "sampler") or (None if card_id else f"import {file}"),
        seconds=_seconds(row),
        card_id=card_id,
        is_adjudication=bool(flag(row, "adjudication")),
        note=text_of(row, "note"),
        created_at=_time(row),
    )


def given(row: Mapping[str, Any], name: str) -> str | None:
    """Return a field as text without outer white space; None where it is empty."""
    text = text_of(row, name)
    return None if text is None else text.strip()


def text_of(row: Mapping[str, Any], name: str) -> str | None:
    """Return a field as it is written; None where it holds nothing but white space."""
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, float) and math.isnan(value):
        raise RowRefusedError(name, "is NaN; leave it empty where there is nothing.")
    if isinstance(value, (dict, list)):
        raise RowRefusedError(name, "holds several values; write one.")
    text = str(value)
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise RowRefusedError(name, "holds half a character (a lone surrogate); write it anew.")
    return text if text.strip() else None


def one_of(row: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    """Return a field that is one of ``allowed``."""
    value = given(row, name)
    if value not in allowed:
        raise RowRefusedError(name, f"is {_short(value)}; write one of {', '.join(allowed)}.")
    return value


def number(row: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number; None where the field is empty."""
    value = given(row, name)
    if value is None:
        return None
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise RowRefusedError(name, f"{_short(value)} is no number.")
    return found


def row_id(row: Mapping[str, Any], name: str) -> int | None:
    """Return the number of a row of the store, also where it is written as q12 or 12.0."""
    value = given(row, name)
    if value is None:
        return None
    letter = _LETTERS[name.removeprefix("other_")]
    found = re.fullmatch(rf"{letter}?([0-9]{{1,18}})(\.0+)?", value, re.IGNORECASE)
    if found is None:
        raise RowRefusedError(name, f"{_short(value)} is no id; write a whole number.")
    return int(found[1])


def flag(row: Mapping[str, Any], name: str) -> bool | None:
    """Return true or false; None where the field is empty."""
    value = (given(row, name) or "").casefold()
    if value in ("", "none"):
        return None
    if value not in (*_YES, *_NO):
        raise RowRefusedError(name, f"is {_short(value)}; write true or false.")
    return value in _YES


def _check_axis(scope: Scope, axis: str, axes: Mapping[Scope, Collection[str]]) -> None:
    known = axes.get(scope, ())
    if axis in known or axis in RESERVED:
        return
    others = [other for other, names in axes.items() if axis in names]
    if others:
        raise RowRefusedError(
            "axis", f"{axis!r} is rated of scope {' and '.join(others)}, not of {scope}."
        )
    listed = ", ".join((*known, OK, PREFERENCE, TAG, FLAG))
    raise RowRefusedError(
        "axis",
        f"there is no axis {_short(axis)} of scope {scope}; write one of {listed}, or add it to"
        " axes.yaml in Q2Q_HOME.",
    )


def _wording(row: Mapping[str, Any], axis: str) -> Axis | None:
    definition = given(row, "axis_definition")
    if definition is None:
        return None
    try:
        return Axis.model_validate({**json.loads(definition), "name": axis})
    except (ValueError, TypeError):
        raise RowRefusedError(
            "axis_definition", "is not as it is exported; leave it empty."
        ) from None


def _check_value(axis: str, value: float | None, outcome: str | None, label: str | None) -> None:
    if value is None and outcome is None and label is None:
        raise RowRefusedError(None, "says nothing; fill in outcome, value or label.")
    wrong = why_wrong(axis, value=value, outcome=outcome, label=label)
    if wrong is not None:
        raise RowRefusedError(*wrong)


def _rater(row: Mapping[str, Any]) -> str:
    try:
        return rater_name(given(row, "rater") or "")
    except UsageError as error:
        raise RowRefusedError("rater", str(error)) from None


def _rater_kind(row: Mapping[str, Any]) -> RaterKind:
    return cast(RaterKind, one_of(row, "rater_kind", get_args(RaterKind)))


def _seconds(row: Mapping[str, Any]) -> float | None:
    seconds = number(row, "seconds")
    if seconds is not None and not 0 <= seconds <= LONGEST_S:
        raise RowRefusedError(
            "seconds", f"is {seconds:g}; write 0 to {LONGEST_S:,.0f}, or leave it empty."
        )
    return seconds


def _time(row: Mapping[str, Any]) -> datetime | None:
    value = given(row, "created_at")
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise RowRefusedError(
            "created_at", f"{_short(value)} is no time; write 2026-01-31T12:00:00Z."
        ) from None
    latest = datetime.now(UTC) + timedelta(days=1)
    # The years first: the very first and last cannot be moved to another time zone.
    if FIRST_YEAR <= time.year <= latest.year:
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        if time <= latest:
            return time
    raise RowRefusedError(
        "created_at", f"{_short(value)} lies outside {FIRST_YEAR} to today; correct it."
    )


def _short(value: str | None) -> str:
    return repr(value if value is None else value[:40])


_NOT_THERE = "is not in the store under this question."


class Targets:
    """Looks texts up; questions that many rows name are looked up once."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._questions: dict[str | int, int | None] = {}

    def of(self, row: Mapping[str, Any], scope: Scope, *, compares: bool) -> list[Target]:
        """Return what ``row`` rates: one target, or the two that it compares.

        Raises:
            RowRefusedError: A text is not named, not in the store, or compared with itself.
        """
        question_id = self._question(row)
        first = self._target(row, question_id, scope, "")
        if not compares:
            self._refuse_other(row)
            return [first]
        other = self._target(row, question_id, scope, "other_")
        if self._wording(first) == self._wording(other):
            raise RowRefusedError(None, "compares a text with itself; name two different ones.")
        return [first, other]

    def _question(self, row: Mapping[str, Any]) -> int:
        text, number = text_of(row, "question"), row_id(row, "question_id")
        if text:
            role = given(row, "role") or "assistant"
            wanted = question_hash(text, text_of(row, "context") or "", role)
            found = self._remembered(wanted)
            if found is None:
                raise RowRefusedError(
                    "question", "is not in the store; import it first, with its texts."
                )
            return found
        if number is None:
            raise RowRefusedError(None, "names no question; fill in question or question_id.")
        if self._remembered(number) is None:
            raise RowRefusedError("question_id", f"there is no question q{number}.")
        return number

    def _remembered(self, key: str | int) -> int | None:
        if key not in self._questions:
            column = Question.content_hash if isinstance(key, str) else Question.id
            self._questions[key] = self.session.scalar(select(Question.id).where(column == key))
        return self._questions[key]

    def _target(self, row: Mapping[str, Any], question_id: int, scope: Scope, side: str) -> Target:
        if scope == "question":
            return Target(question_id=question_id)
        variant_id = self._variant(row, question_id, side, needed=scope == "reasoning")
        if scope == "reasoning":
            return Target(question_id=question_id, variant_id=variant_id)
        answer = self._answer(row, question_id, side, variant_id)
        return Target(question_id=question_id, variant_id=answer.variant_id, answer_id=answer.id)

    def _variant(
        self, row: Mapping[str, Any], question_id: int, side: str, *, needed: bool
    ) -> int | None:
        text, number = text_of(row, f"{side}reasoning"), row_id(row, f"{side}variant_id")
        query = select(ReasoningVariant.id).where(ReasoningVariant.question_id == question_id)
        if text:
            query = query.where(ReasoningVariant.content_hash == text_hash(text))
        elif number is not None:
            query = query.where(ReasoningVariant.id == number)
        elif needed:
            raise _empty(f"{side}reasoning", f"{side}variant_id")
        else:
            return None
        ids = list(self.session.scalars(query.order_by(ReasoningVariant.id)))
        if not ids:
            raise RowRefusedError(f"{side}reasoning" if text else f"{side}variant_id", _NOT_THERE)
        return number if number in ids else ids[0]

    def _answer(
        self, row: Mapping[str, Any], question_id: int, side: str, variant_id: int | None
    ) -> Answer:
        text, number = text_of(row, f"{side}answer"), row_id(row, f"{side}answer_id")
        query = select(Answer).where(Answer.question_id == question_id)
        if text:
            query = query.where(Answer.content_hash == text_hash(text))
        elif number is not None:
            query = query.where(Answer.id == number)
        else:
            raise _empty(f"{side}answer", f"{side}answer_id")
        if variant_id is not None:
            query = query.where(Answer.variant_id == variant_id)
        found = list(self.session.scalars(query.order_by(Answer.id)))
        if not found:
            raise RowRefusedError(f"{side}answer" if text else f"{side}answer_id", _NOT_THERE)
        return _meant(found, number, variant_id, side)

    def _wording(self, target: Target) -> tuple[object, ...]:
        """Return what tells a text from others of its question: its words."""
        hashes = [
            self.session.scalar(select(table.content_hash).where(table.id == text_id))
            for table, text_id in (
                (ReasoningVariant, target.variant_id),
                (Answer, target.answer_id),
            )
        ]
        return tuple(hashes)

    def _refuse_other(self, row: Mapping[str, Any]) -> None:
        for name in ("reasoning", "answer", "variant_id", "answer_id"):
            if given(row, f"other_{name}"):
                raise RowRefusedError(
                    f"other_{name}",
                    "names a second text, and the row is no comparison; fill in outcome, or leave"
                    " it empty.",
                )


def _meant(found: list[Answer], number: int | None, variant_id: int | None, side: str) -> Answer:
    """Return the answer that is meant: by its id, else the one that stands where the row says."""
    by_id = next((one for one in found if one.id == number), None)
    if by_id is not None or variant_id is not None:
        return by_id or found[0]
    alone = [one for one in found if one.variant_id is None]
    if not alone and len({one.variant_id for one in found}) > 1:
        raise RowRefusedError(
            f"{side}reasoning",
            f"is empty, and several reasonings have this answer; fill in {side}reasoning.",
        )
    return (alone or found)[0]


def _empty(column: str, id_column: str) -> RowRefusedError:
    return RowRefusedError(column, f"is empty; fill in {column} or {id_column}.")
