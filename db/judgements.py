"""What was said of one question, reasoning or answer: its ratings and comparisons that hold."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from db.identity import Ref
from db.rating.ratings import standing
from db.tables import Rater, Rating

Result = Literal["won", "lost", "tie", "both_bad"]

_SEEN: dict[bool, dict[str, Result]] = {
    False: {"a": "won", "b": "lost", "tie": "tie", "both_bad": "both_bad"},
    True: {"a": "lost", "b": "won", "tie": "tie", "both_bad": "both_bad"},
}
"""How a comparison went; True: for the other one of the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementRow:
    """One judgement, seen from the text that it is listed for."""

    id: int
    rater: str
    rater_kind: str
    """``person`` or ``model``."""
    scope: str
    axis: str
    value: float | None
    label: str | None
    """The tag or flag given."""
    result: Result | None
    """How the comparison went for this text; None for a rating of it alone."""
    other: Ref | None
    """What it was compared with."""
    blind: bool
    note: str | None
    created_at: datetime


def judgements(
    session: Session, ref: Ref, most: int, *, compared: bool
) -> tuple[tuple[JudgementRow, ...], int]:
    """Return the newest judgements of a question, reasoning or answer, and how many there are.

    Args:
        session: Of the store.
        ref: What was judged.
        most: Rows returned.
        compared: Comparisons with another one, instead of ratings of it alone.
    """
    own, other = _sides(ref)
    if compared:
        found = standing().where(or_(own, other), Rating.outcome.is_not(None))
    else:
        found = standing().where(own, Rating.outcome.is_(None))
    total = session.scalar(select(func.count()).select_from(found.subquery())) or 0
    rows = session.execute(
        found.join(Rater, Rater.id == Rating.rater_id)
        .add_columns(Rater.name, Rater.kind)
        .order_by(Rating.id.desc())
        .limit(most)
    ).all()
    return tuple(_row(ref, *row) for row in rows), total


def _sides(ref: Ref) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of being rated, and of being the other one of two."""
    if ref.kind == "question":
        is_asked = Rating.scope == "question"
        return (
            and_(is_asked, Rating.question_id == ref.id),
            and_(is_asked, Rating.other_question_id == ref.id),
        )
    if ref.kind == "variant":
        return (
            and_(Rating.variant_id == ref.id, Rating.answer_id.is_(None)),
            and_(Rating.other_variant_id == ref.id, Rating.other_answer_id.is_(None)),
        )
    return Rating.answer_id == ref.id, Rating.other_answer_id == ref.id


def _row(ref: Ref, rating: Rating, rater: str, rater_kind: str) -> JudgementRow:
    targets = {
        "question": (rating.question_id, rating.other_question_id),
        "variant": (rating.variant_id, rating.other_variant_id),
        "answer": (rating.answer_id, rating.other_answer_id),
    }
    first, second = targets[ref.kind]
    is_other = first != ref.id
    result = other = None
    if rating.outcome is not None:
        result = _SEEN[is_other][rating.outcome]
        other_id = first if is_other else second
        other = Ref(ref.kind, other_id) if other_id is not None else None
    own: dict[str, Any] = {name: getattr(rating, name) for name in _OWN}
    return JudgementRow(rater=rater, rater_kind=rater_kind, result=result, other=other, **own)


_OWN = ("id", "scope", "axis", "value", "label", "blind", "note", "created_at")
"""What a rating tells of itself, under the same name."""
