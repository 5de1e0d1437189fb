"""Ratings in place: OK or not OK of an answer (or a reasoning) by one key, and their undoing."""

import uuid

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
    is_ok: bool | None,
) -> bool:
    """Store that a text is OK or not; None takes it back. Return whether anything changed.

    An answer is rated where there is one, else the reasoning. What the rater said of it here before
    is undone first: a judgement is one fact, its change two.

    Raises:
        UsageError: What is undone was undone elsewhere meanwhile.
    """
    target = _target(session, answer_id, variant_id)
    if target is None:
        return False
    before = _before(session, rater_id, target)
    if is_ok is not None and [one.value for one in before] == [float(is_ok)]:
        return False
    if before:
        undo_ratings(session, [one.id for one in before])
    if is_ok is not None:
        scope: Scope = "answer" if target.answer_id is not None else "reasoning"
        new = NewRating(
            rater_id=rater_id,
            scope=scope,
            target=target,
            axis=OK,
            value=float(is_ok),
            blind=False,
            answer_seen=True,
            sampler=SAMPLER,
            card_id=f"matrix/{uuid.uuid4().hex}",
        )
        add_ratings(session, [new])
    return bool(before) or is_ok is not None


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


def _before(session: Session, rater_id: int, target: Target) -> list[Rating]:
    own = active_ratings().where(
        Rating.rater_id == rater_id,
        Rating.axis == OK,
        Rating.sampler == SAMPLER,
        Rating.variant_id.is_not_distinct_from(target.variant_id),
        Rating.answer_id.is_not_distinct_from(target.answer_id),
    )
    return list(session.scalars(own.order_by(Rating.id)))


def own_ratings(session: Session, rater_id: int, answer_ids: list[int]) -> dict[int, bool]:
    """Return what the rater said of these answers here: OK or not."""
    query = active_ratings().where(
        Rating.rater_id == rater_id,
        Rating.axis == OK,
        Rating.sampler == SAMPLER,
        Rating.answer_id.in_(answer_ids),
    )
    rows = session.execute(query.with_only_columns(Rating.answer_id, Rating.value))
    return {answer_id: bool(value) for answer_id, value in rows if answer_id is not None}
