"""Ratings out of the store and in again, each row with everything needed to understand it alone.

A row names its texts twice: by id and by their words. In another store the words count; where a row
has ids only, they are those of this store.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.identity import question_hash, short_hash, text_hash
from db.ratings import NewRating, Outcome, Scope, Target, add_ratings, ensure_rater
from db.tables import Answer, Question, ReasoningVariant
from serving.importers.readers import read_records
from serving.importers.source import Record

_ORIGIN = ("model", "prompt_format", "mode", "temperature", "top_p", "max_tokens", "seed", "source")
COLUMNS: Final[Mapping[str, Literal["text", "integer", "number", "flag"]]] = {
    **dict.fromkeys(("card_id", "rater", "rater_kind", "scope", "axis", "outcome"), "text"),
    "value": "number",
    "label": "text",
    **dict.fromkeys(("question_id", "variant_id", "answer_id"), "integer"),
    **dict.fromkeys(("other_variant_id", "other_answer_id"), "integer"),
    **dict.fromkeys(("question", "context", "role", "language", "reasoning", "answer"), "text"),
    **dict.fromkeys(("other_reasoning", "other_answer"), "text"),
    **{
        f"{side}{name}": "text"
        if name in ("model", "prompt_format", "mode", "source")
        else "number"
        if name in ("temperature", "top_p")
        else "integer"
        for side in ("", "other_")
        for name in _ORIGIN
    },
    **dict.fromkeys(("blind", "swapped", "answer_seen"), "flag"),
    "sampler": "text",
    "seconds": "number",
    **dict.fromkeys(("queue", "note", "created_at"), "text"),
}
"""Columns of an exported rating, in their order, each with what it holds."""

_SIDES = ", ".join(
    f"coalesce({a}.{name}, {v}.{name}) AS {side}{name}"
    for side, v, a in (("", "v", "a"), ("other_", "w", "b"))
    for name in _ORIGIN
)
_ROWS = f"""
SELECT x.card_id, r.rater, r.rater_kind, r.scope, r.axis, r.outcome, r.value, r.label,
    r.question_id, r.variant_id, r.answer_id, r.other_variant_id, r.other_answer_id,
    q.text AS question, q.context, q.role, q.language, v.text AS reasoning, a.text AS answer,
    w.text AS other_reasoning, b.text AS other_answer, {_SIDES},
    r.blind, r.swapped, r.answer_seen, r.sampler, r.seconds, u.name AS queue, r.note, r.created_at
FROM v_rating r
JOIN rating x ON x.id = r.rating_id
JOIN question q ON q.id = r.question_id
LEFT JOIN queue_item i ON i.id = x.queue_item_id
LEFT JOIN rating_queue u ON u.id = i.queue_id
LEFT JOIN v_variant v ON v.variant_id = r.variant_id
LEFT JOIN v_answer a ON a.answer_id = r.answer_id
LEFT JOIN v_variant w ON w.variant_id = r.other_variant_id
LEFT JOIN v_answer b ON b.answer_id = r.other_answer_id
WHERE NOT r.is_undone AND (:queue_id IS NULL OR i.queue_id = :queue_id)
ORDER BY r.rating_id
"""
_FLAGS = tuple(name for name, kind in COLUMNS.items() if kind == "flag")


@dataclass(slots=True)
class RatingImport:
    """What an import did."""

    added: int = 0
    skipped: int = 0
    """Rows that the store had already, or that stand in the file twice."""
    errors: int = 0
    problems: list[str] = field(default_factory=list)


def rating_rows(database: Database, queue_id: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield what holds of all ratings, or of a queue's, oldest first."""
    with database.read() as session:
        rows = session.execute(
            text(_ROWS), {"queue_id": queue_id}, execution_options={"yield_per": 1000}
        )
        for row in rows.mappings():
            kept = dict(row)
            for name in _FLAGS:
                kept[name] = None if kept[name] is None else bool(kept[name])
            yield kept


def import_ratings(database: Database, path: Path, *, encoding: str | None = None) -> RatingImport:
    """Store the ratings of a file: all of them, or none where a row is wrong.

    The same file again adds nothing. ``encoding`` is what a text that is not UTF-8 is read as.

    Raises:
        UsageError: The file cannot be read.
    """
    records = read_records(path, encoding=encoding)
    found = records.source
    done = RatingImport()
    with suppress(_NothingStored), database.write() as session:
        ratings = []
        for record in records:
            try:
                ratings.append(_rating(session, found.name, record))
            except _Refused as refused:
                found.refuse(record.line, refused.column, refused.what)
        done.problems = [problem.sentence for problem in found.problems]
        done.errors = len(found.problems)
        if done.errors:
            raise _NothingStored
        done.added = len(add_ratings(session, ratings))
        done.skipped = len(ratings) - done.added
    return done


class _NothingStored(Exception):
    """Takes back what the rows before a wrong one have written."""


class _Refused(Exception):
    def __init__(self, column: str | None, what: str) -> None:
        super().__init__(what)
        self.column, self.what = column, what


def _rating(session: Session, file: str, record: Record) -> NewRating:
    row = {name.strip().casefold(): value for name, value in record.values.items()}
    scope = _one_of(row, "scope", get_args(Scope))
    outcome = _one_of(row, "outcome", get_args(Outcome)) if _said(row, "outcome") else None
    axis = _said(row, "axis") or ("preference" if outcome else None)
    if axis is None:
        raise _Refused("axis", "is empty; name what was rated, or fill in outcome.")
    value = _number(row, "value")
    label = _said(row, "label")
    if outcome is None and value is None and label is None:
        raise _Refused(None, "says nothing; fill in outcome, value or label.")
    question_id = _question(session, row)
    target = _target(session, row, question_id, scope, "")
    other = _target(session, row, question_id, scope, "other_") if outcome else None
    if other == target:
        raise _Refused(None, "compares a text with itself; name two.")
    try:
        rater_id = ensure_rater(session, _said(row, "rater") or "")
    except UsageError as error:
        raise _Refused("rater", str(error)) from None
    said = (scope, axis, str(outcome), str(value), str(label), str(rater_id), str(target))
    card = _said(row, "card_id") or f"import-{short_hash(*said, str(other), _when(row))}"
    return NewRating(
        rater_id=rater_id,
        scope=cast(Scope, scope),
        target=target,
        other=other,
        axis=axis,
        value=value,
        outcome=cast(Outcome | None, outcome),
        label=label,
        blind=bool(_flag(row, "blind")),
        swapped=_flag(row, "swapped"),
        answer_seen=bool(_flag(row, "answer_seen")),
        sampler=_said(row, "sampler") or f"import {file}",
        seconds=_number(row, "seconds"),
        card_id=card,
        note=_said(row, "note"),
        created_at=_time(row),
    )


def _question(session: Session, row: Mapping[str, Any]) -> int:
    words, number = _said(row, "question"), _id(row, "question_id")
    if words:
        wanted = question_hash(
            words, _said(row, "context") or "", _said(row, "role") or "assistant"
        )
        found = session.scalar(select(Question.id).where(Question.content_hash == wanted))
        if found is None:
            raise _Refused("question", "is not in the store; import it first, with its texts.")
        return found
    if number is None:
        raise _Refused(None, "names no question; fill in question or question_id.")
    if session.get(Question, number) is None:
        raise _Refused("question_id", f"there is no question q{number}.")
    return number


def _target(
    session: Session, row: Mapping[str, Any], question_id: int, scope: str, side: str
) -> Target:
    variant_id = answer_id = None
    if scope != "question":
        needs_reasoning = scope == "reasoning"
        variant_id = _text(
            session,
            ReasoningVariant,
            row,
            question_id,
            f"{side}reasoning",
            f"{side}variant_id",
            needed=needs_reasoning,
        )
    if scope in ("answer", "whole"):
        answer_id = _text(
            session,
            Answer,
            row,
            question_id,
            f"{side}answer",
            f"{side}answer_id",
            needed=True,
            variant_id=variant_id,
        )
    return Target(question_id=question_id, variant_id=variant_id, answer_id=answer_id)


def _text(
    session: Session,
    table: type[ReasoningVariant] | type[Answer],
    row: Mapping[str, Any],
    question_id: int,
    column: str,
    id_column: str,
    *,
    needed: bool,
    variant_id: int | None = None,
) -> int | None:
    """Return the id of the text that a row names by words or by id."""
    words, number = _said(row, column), _id(row, id_column)
    query = select(table.id).where(table.question_id == question_id)
    if words:
        query = query.where(table.content_hash == text_hash(words))
        if table is Answer and variant_id is not None:
            query = query.where(Answer.variant_id == variant_id)
    elif number is not None:
        query = query.where(table.id == number)
    elif needed:
        raise _Refused(column, f"is empty; fill in {column} or {id_column}.")
    else:
        return None
    ids = list(session.scalars(query.order_by(table.id)))
    if not ids:
        raise _Refused(column if words else id_column, "is not in the store under this question.")
    return number if number in ids else ids[0]


def _said(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip() or None


def _one_of(row: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = _said(row, name)
    if value not in allowed:
        raise _Refused(name, f"is {value!r}; write one of {', '.join(allowed)}.")
    return value


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = _said(row, name)
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _Refused(name, f"{value[:40]!r} is no number.")
    return number


def _id(row: Mapping[str, Any], name: str) -> int | None:
    number = _number({name: (_said(row, name) or "").lstrip("qva") or None}, name)
    return None if number is None else int(number)


def _flag(row: Mapping[str, Any], name: str) -> bool | None:
    value = (_said(row, name) or "").casefold()
    if value in ("", "none"):
        return None
    if value not in ("true", "false", "1", "0", "yes", "no"):
        raise _Refused(name, f"is {value[:40]!r}; write true or false.")
    return value in ("true", "1", "yes")


def _when(row: Mapping[str, Any]) -> str:
    return _said(row, "created_at") or ""


def _time(row: Mapping[str, Any]) -> datetime | None:
    value = _when(row)
    if not value:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise _Refused(
            "created_at", f"{value[:40]!r} is no time; write 2026-01-31T12:00:00Z."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
