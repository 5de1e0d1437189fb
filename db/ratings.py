"""Ratings by meaning: raters, facts that are only ever added, and what of them still holds."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Select, insert, select
from sqlalchemy.orm import Session, aliased

from db.errors import UsageError
from db.generations import chunks
from db.tables import Rater, Rating, utc_now

Scope = Literal["reasoning", "answer", "whole", "question"]
Outcome = Literal["a", "b", "tie", "both_bad"]

PREFERENCE = "preference"
"""Axis of a comparison of two."""
OK = "ok"
"""Axis of OK (1) or not OK (0)."""
TAG = "tag"
FLAG = "flag"
MAX_RATER_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is rated: a question, a reasoning, or an answer under the reasoning beside it."""

    question_id: int
    variant_id: int | None = None
    answer_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRating:
    """One judgement: of one target on an axis, or of two against each other."""

    rater_id: int
    scope: Scope
    target: Target
    other: Target | None = None
    axis: str
    value: float | None = None
    outcome: Outcome | None = None
    """``a``: the target is better; ``b``: the other one; whatever stood on the left."""
    label: str | None = None
    """The tag or flag given."""
    blind: bool
    swapped: bool | None = None
    """The other target stood on the left."""
    answer_seen: bool = False
    sampler: str | None = None
    seconds: float | None = None
    """From when the card was dealt to the press."""
    queue_item_id: int | None = None
    card_id: str
    """Unique in the store: a second press on the same card adds nothing."""
    note: str | None = None
    created_at: datetime | None = None
    """None: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterRow:
    """One rater."""

    id: int
    name: str
    kind: str


def stored_name(name: str) -> str:
    """Return ``name`` as raters are called in the store: of one width, accents composed."""
    return unicodedata.normalize("NFKC", name).strip()


def rater_name(name: str) -> str:
    """Return ``name`` as ``stored_name`` does.

    Raises:
        UsageError: The name is empty, too long or not one line.
    """
    name = stored_name(name)
    if not name or len(name) > MAX_RATER_NAME or not name.isprintable():
        raise UsageError(f"A rater's name is one line of 1 to {MAX_RATER_NAME} characters.")
    return name


def ensure_rater(session: Session, name: str) -> int:
    """Return the id of the person called ``name``, known or new.

    Raises:
        UsageError: The name is empty, too long or not one line, or it is a model's.
    """
    name = rater_name(name)
    known = session.scalar(select(Rater).where(Rater.name == name))
    if known is None:
        known = Rater(name=name)
        session.add(known)
        session.flush()
    elif known.kind != "person":
        raise UsageError(f"{name!r} is the name of a model; choose another one.")
    return known.id


def list_raters(session: Session) -> list[RaterRow]:
    """Return all raters, by name."""
    rows = session.execute(select(Rater.id, Rater.name, Rater.kind).order_by(Rater.name))
    return [RaterRow(id=row.id, name=row.name, kind=row.kind) for row in rows]


def add_ratings(session: Session, ratings: Iterable[NewRating]) -> list[int]:
    """Store judgements whose cards have none yet; return the ids of those that are new."""
    ratings = list(ratings)
    known: set[str] = set()
    for cards in chunks([rating.card_id for rating in ratings]):
        known.update(session.scalars(select(Rating.card_id).where(Rating.card_id.in_(cards))))
    new = {rating.card_id: rating for rating in ratings if rating.card_id not in known}
    if not new:
        return []
    rows = [_row(rating) for rating in new.values()]
    return list(session.scalars(insert(Rating).returning(Rating.id), rows))


def undo_ratings(session: Session, rating_ids: Sequence[int]) -> None:
    """Take judgements back by adding the fact that each is undone; what was said stays.

    Raises:
        UsageError: One of them does not exist, or is undone already.
    """
    rows = session.execute(select(Rating).where(Rating.id.in_(rating_ids))).scalars().all()
    undone = set(session.scalars(select(Rating.undoes_id).where(Rating.undoes_id.in_(rating_ids))))
    if len(rows) < len(set(rating_ids)) or undone:
        raise UsageError("These ratings are not there, or they are undone already.")
    for row in rows:
        session.add(
            Rating(
                rater_id=row.rater_id,
                scope=row.scope,
                question_id=row.question_id,
                variant_id=row.variant_id,
                answer_id=row.answer_id,
                axis=row.axis,
                blind=row.blind,
                queue_item_id=row.queue_item_id,
                card_id=f"{row.card_id}/undo",
                undoes_id=row.id,
            )
        )
    session.flush()


def standing() -> Select[Rating]:
    """Return the select of all judgements that hold: neither undone nor an undoing."""
    undoing = aliased(Rating)
    return (
        select(Rating)
        .outerjoin(undoing, undoing.undoes_id == Rating.id)
        # No index: without statistics SQLite would begin with all ratings that undo nothing.
        .where((Rating.undoes_id + 0).is_(None), undoing.id.is_(None))
    )


def item_ratings(session: Session, rater_id: int, item_id: int) -> list[int]:
    """Return the ids of what ``rater_id`` said about a queue's item, as far as it holds."""
    query = standing().where(Rating.rater_id == rater_id, Rating.queue_item_id == item_id)
    return list(session.scalars(query.with_only_columns(Rating.id).order_by(Rating.id)))


def _row(rating: NewRating) -> dict[str, object]:
    other = rating.other
    return {
        "rater_id": rating.rater_id,
        "scope": rating.scope,
        "question_id": rating.target.question_id,
        "variant_id": rating.target.variant_id,
        "answer_id": rating.target.answer_id,
        "other_question_id": other.question_id if other else None,
        "other_variant_id": other.variant_id if other else None,
        "other_answer_id": other.answer_id if other else None,
        "axis": rating.axis,
        "value": rating.value,
        "outcome": rating.outcome,
        "label": rating.label,
        "blind": rating.blind,
        "swapped": rating.swapped,
        "answer_seen": rating.answer_seen,
        "sampler": rating.sampler,
        "seconds": rating.seconds,
        "queue_item_id": rating.queue_item_id,
        "card_id": rating.card_id,
        "note": rating.note,
        "created_at": rating.created_at or utc_now(),
    }
