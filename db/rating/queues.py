"""Queues of things to rate: made once, listed, and how far each rater is."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db.archive import in_use
from db.bulk import chunks
from db.errors import UsageError, existing
from db.rating.ratings import Scope, Target
from db.tables import QueueItem, QueueItemState, RatingQueue
from db.tables.base import as_row
from db.texts.rows import require_questions, require_texts

Way = Literal["pair", "single", "table"]
N_ITEMS = "items"
"""Key of a queue's spec: how many items it was made with; hidden repeats come on top."""
REPEAT_SHARE = "repeat_share"
"""Key of a queue's spec: hidden repeats for each item, of comparisons only."""
DEFAULT_REPEAT_SHARE = 0.1
"""Of queues whose spec does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """One thing to rate, or two to compare."""

    target: Target
    other: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """One queue."""

    id: int
    name: str
    way: Way
    scope: Scope
    spec: dict[str, Any]
    overlap: int
    n_items: int
    created_at: datetime
    archived_at: datetime | None

    @property
    def repeat_share(self) -> float:
        """Hidden repeats for each item."""
        share = float(self.spec.get(REPEAT_SHARE, DEFAULT_REPEAT_SHARE))
        return share if self.way == "pair" else 0.0

    @property
    def n_cards(self) -> int:
        """How many cards a rater of all items is shown: the items and the hidden repeats."""
        return self.n_items + int(self.repeat_share * self.n_items)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """One item of a queue."""

    id: int
    queue_id: int
    target: Target
    other: Target | None
    repeat_of_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueProgress:
    """How far one rater is in a queue, in cards shown.

    Hidden repeats count like any other card: a number that stood still would tell them.
    """

    submitted: int
    skipped: int
    discarded: int
    total: int
    """Cards that a rater of all items is shown."""

    @property
    def done(self) -> int:
        """Cards that are closed."""
        return self.submitted + self.skipped + self.discarded


def create_queue(
    session: Session,
    *,
    name: str,
    way: Way,
    scope: Scope,
    spec: dict[str, Any],
    items: Iterable[NewItem],
    overlap: int = 1,
) -> int:
    """Store a queue with its items in a random order; return its id.

    Raises:
        UsageError: There is nothing to rate, or no rater for an item.
    """
    items = list(items)
    if not items:
        (require_questions if scope == "question" else require_texts)(session)
        raise UsageError("Nothing to rate is left; choose other texts or fewer exclusions.")
    if overlap < 1:
        raise UsageError("overlap is {overlap}; an item needs at least one rater.", overlap=overlap)
    random.SystemRandom().shuffle(items)
    spec = {**spec, N_ITEMS: len(items)}
    queue = RatingQueue(name=name, way=way, scope=scope, spec=spec, overlap=overlap)
    session.add(queue)
    session.flush()
    rows = (item_values(queue.id, position, item) for position, item in enumerate(items))
    for some in chunks(rows):
        session.execute(insert(QueueItem), some)
    return queue.id


def list_queues(session: Session, *, archived: bool = False) -> list[QueueRow]:
    """Return the queues in use, or those archived, newest first."""
    listed = select(RatingQueue).where(in_use(RatingQueue, archived))
    rows = session.scalars(listed.order_by(RatingQueue.id.desc()))
    return [as_row(QueueRow, row, n_items=row.spec[N_ITEMS]) for row in rows]


def get_queue(session: Session, queue_id: int) -> QueueRow:
    """Return one queue.

    Raises:
        UsageError: There is none with this id.
    """
    missing = f"There is no queue {queue_id}; `q2q rate queue` lists them all."
    row = existing(session.get(RatingQueue, queue_id), missing)
    return as_row(QueueRow, row, n_items=row.spec[N_ITEMS])


def queue_progress(session: Session, queue_id: int, rater_id: int) -> QueueProgress:
    """Return how far ``rater_id`` is."""
    by_state = (
        select(QueueItemState.state, func.count())
        .join(QueueItem, QueueItem.id == QueueItemState.item_id)
        .where(
            QueueItem.queue_id == queue_id,
            QueueItemState.rater_id == rater_id,
        )
        .group_by(QueueItemState.state)
    )
    counts = dict(session.execute(by_state).all())
    return QueueProgress(
        submitted=counts.get("submitted", 0),
        skipped=counts.get("skipped", 0),
        discarded=counts.get("discarded", 0),
        total=get_queue(session, queue_id).n_cards,
    )


def get_items(session: Session, item_ids: Sequence[int]) -> list[ItemRow]:
    """Return items by id."""
    rows = session.scalars(select(QueueItem).where(QueueItem.id.in_(item_ids)))
    return [item_row(row) for row in rows]


def item_values(queue_id: int, position: int, item: NewItem) -> dict[str, Any]:
    """Return the columns of a new item."""
    return {
        "queue_id": queue_id,
        "position": position,
        "question_id": item.target.question_id,
        "variant_id": item.target.variant_id,
        "answer_id": item.target.answer_id,
        "other_variant_id": item.other.variant_id if item.other else None,
        "other_answer_id": item.other.answer_id if item.other else None,
    }


def item_row(item: QueueItem) -> ItemRow:
    """Return an item as a row."""
    target, other = (
        Target(question_id=item.question_id, variant_id=variant_id, answer_id=answer_id)
        for variant_id, answer_id in (
            (item.variant_id, item.answer_id),
            (item.other_variant_id, item.other_answer_id),
        )
    )
    has_other = other.variant_id is not None or other.answer_id is not None
    return as_row(ItemRow, item, target=target, other=other if has_other else None)
