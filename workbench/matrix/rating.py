"""Ratings in place: OK or not OK, or 1 to 5, of an answer or a reasoning by one key; undoing."""

import uuid
from collections.abc import Sequence

from sqlalchemy import true
from sqlalchemy.orm import Session

from db.rating.ratings import (
    OK,
    NewRating,
    Scope,
    Target,
    active_ratings,
    add_ratings,
    undo_ratings,
)
from db.tables import Answer, Rating, ReasoningVariant

SAMPLER = "matrix"
"""Of ratings that were given with all else in view; they are not blind."""


def rate_in_place(
    session: Session,
    rater_id: int,
    *,
    answer_id: int | None,
    variant_id: int | None,
    value: float | None,
    axis: str = OK,
) -> bool:
    """Store what a text is worth on an axis; None takes all back. Return whether anything changed.

    An answer is rated where there is one, else the reasoning. What the rater said of it here before
    is undone first: a judgement is one fact, its change two.

    Raises:
        UsageError: The value is none of the axis, or what is undone was undone elsewhere meanwhile.
    """
    target = _target(session, answer_id, variant_id)
    if target is None:
        return False
    before = _before(session, rater_id, target, axis if value is not None else None)
    if value is not None and [one.value for one in before] == [value]:
        return False
    if before:
        undo_ratings(session, [one.id for one in before])
    if value is not None:
        scope: Scope = "answer" if target.answer_id is not None else "reasoning"
        new = NewRating(
            rater_id=rater_id,
            scope=scope,
            target=target,
            axis=axis,
            value=value,
            blind=False,
            answer_seen=True,
            sampler=SAMPLER,
            card_id=f"matrix/{uuid.uuid4().hex}",
        )
        add_ratings(session, [new])
    return bool(before) or value is not None


def _target(session: Session, answer_id: int | None, variant_id: int | None) -> Target | None:
    if answer_id is not None:
        answer = session.get(Answer, answer_id)
        if answer is None:
            return None
        return Target(
            question_id=answer.question_id, variant_id=answer.variant_id, answer_id=answer.id
        )
    variant = session.get(ReasoningVariant, variant_id or 0)
    return Target(question_id=variant.question_id, variant_id=variant.id) if variant else None


def _before(session: Session, rater_id: int, target: Target, axis: str | None) -> list[Rating]:
    own = active_ratings().where(
        Rating.rater_id == rater_id,
        true() if axis is None else Rating.axis == axis,
        Rating.sampler == SAMPLER,
        Rating.variant_id.is_not_distinct_from(target.variant_id),
        Rating.answer_id.is_not_distinct_from(target.answer_id),
    )
    return list(session.scalars(own.order_by(Rating.id)))


def own_ratings(
    session: Session, rater_id: int, answer_ids: Sequence[int], variant_ids: Sequence[int] = ()
) -> dict[str, bool]:
    """Return what the rater said of these texts here, by their short names: OK or not."""
    alone = Rating.answer_id.is_(None) & Rating.variant_id.in_(variant_ids)
    query = active_ratings().where(
        Rating.rater_id == rater_id,
        Rating.axis == OK,
        Rating.sampler == SAMPLER,
        Rating.answer_id.in_(answer_ids) | alone,
    )
    rows = session.execute(
        query.with_only_columns(Rating.answer_id, Rating.variant_id, Rating.value)
    )
    return {
        f"v{variant}" if answer is None else f"a{answer}": bool(value)
        for answer, variant, value in rows
    }
