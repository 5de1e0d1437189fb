"""Queues of things to rate: made once, listed, and how far each rater is."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError, existing
from db.rating.ratings import Scope, Target
from db.store.archive import in_use
from db.tables import (
    QueueAssignment,
    QueueItem,
    QueueItemState,
    RatingQueue,
    ReasoningVariant,
)
from db.tables.base import as_row
from db.texts.rows import require_questions, require_texts

Way = Literal["pair", "single", "table"]
N_ITEMS = "items"
"""Key of a queue's spec: how many items it was made with; hidden repeats come on top."""
REPEAT_SHARE = "repeat_share"
"""Key of a queue's spec: hidden repeats for each item, of comparisons only."""
ASSIGNED = "assigned"
"""Key of a queue's spec: id of a rater → how many items are theirs; no key: all are anybody's."""
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
    def guidelines(self) -> str:
        """What raters are told, in Markdown; it never changes, so that it is what they saw."""
        return str(self.spec.get("guidelines") or "")

    @property
    def assigned(self) -> dict[int, int] | None:
        """Rater → how many items are theirs; None: every rater meets any item."""
        shares = self.spec.get(ASSIGNED)
        return {int(id): int(n) for id, n in shares.items()} if shares else None

    def n_cards(self, rater_id: int | None = None) -> int:
        """How many cards a rater of all (their) items is shown: the items and hidden repeats."""
        n = self.n_items
        if self.assigned is not None and rater_id is not None:
            n = self.assigned.get(rater_id, 0)
        return n + int(self.repeat_share * n)


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
    raters: Mapping[int, int] | None = None,
) -> int:
    """Store a queue with its items in a random order; return its id.

    Args:
        session: One that may write.
        name: Of the queue.
        way: How cards are shown.
        scope: What is rated.
        spec: What it was made from.
        items: The cards.
        overlap: Raters of each item.
        raters: Rater → share of the items that are theirs; None: any rater meets any item.

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
    if raters and overlap > len(raters):
        raise UsageError(
            "overlap is {overlap}, and {n} raters are named; name more, or lower it.",
            overlap=overlap,
            n=len(raters),
        )
    spec = {**spec, N_ITEMS: len(items)}
    queue = RatingQueue(name=name, way=way, scope=scope, spec=spec, overlap=overlap)
    session.add(queue)
    session.flush()
    rows = (item_values(queue.id, position, item) for position, item in enumerate(items))
    for some in chunks(rows):
        session.execute(insert(QueueItem), some)
    if raters:
        queue.spec = {**spec, ASSIGNED: _share_out(session, queue.id, overlap, raters)}
        session.flush()
    return queue.id


def _share_out(
    session: Session, queue_id: int, overlap: int, raters: Mapping[int, int]
) -> dict[str, int]:
    """Give each item to so many raters, by their shares (Sainte-Laguë); return how many each has.

    Nobody is given a text of their own, which they would not be asked about: another one is.
    """
    both = (QueueItem.variant_id, QueueItem.other_variant_id)
    own = select(QueueItem.id, ReasoningVariant.author_id).join(
        ReasoningVariant, ReasoningVariant.id.in_(both)
    )
    written = set(session.execute(own.where(QueueItem.queue_id == queue_id)).all())
    counts = dict.fromkeys(raters, 0)
    rows: list[dict[str, int]] = []
    items = select(QueueItem.id).filter_by(queue_id=queue_id).order_by(QueueItem.position)
    for item_id in session.scalars(items):
        may = [id for id in raters if (item_id, id) not in written]
        for id in sorted(may, key=lambda id: (counts[id] + 0.5) / raters[id])[:overlap]:
            counts[id] += 1
            rows.append({"item_id": item_id, "rater_id": id})
    for some in chunks(rows):
        session.execute(insert(QueueAssignment), some)
    return {str(id): n for id, n in counts.items()}


def list_queues(session: Session, *, archived: bool | None = False) -> list[QueueRow]:
    """Return the queues in use, those archived, or all of them (None), newest first."""
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


def queue_progress(session: Session, queue: QueueRow, rater_id: int) -> QueueProgress:
    """Return how far ``rater_id`` is."""
    by_state = _states(queue.id).where(QueueItemState.rater_id == rater_id)
    return _progress(queue, rater_id, {state: n for _, state, n in session.execute(by_state).all()})


def raters_progress(session: Session, queue: QueueRow) -> dict[int, QueueProgress]:
    """Return how far each rater is who has cards of a queue, or has begun."""
    found: dict[int, dict[str, int]] = {id: {} for id in queue.assigned or ()}
    for rater_id, state, n in session.execute(_states(queue.id)).all():
        found.setdefault(rater_id, {})[state] = n
    return {id: _progress(queue, id, counts) for id, counts in found.items()}


def _states(queue_id: int) -> Select[int, str, int]:
    return (
        select(QueueItemState.rater_id, QueueItemState.state, func.count())
        .join(QueueItem, QueueItem.id == QueueItemState.item_id)
        .where(QueueItem.queue_id == queue_id)
        .group_by(QueueItemState.rater_id, QueueItemState.state)
    )


def _progress(queue: QueueRow, rater_id: int, counts: Mapping[str, int]) -> QueueProgress:
    return QueueProgress(
        submitted=counts.get("submitted", 0),
        skipped=counts.get("skipped", 0),
        discarded=counts.get("discarded", 0),
        total=queue.n_cards(rater_id),
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
