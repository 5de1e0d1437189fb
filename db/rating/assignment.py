"""Assignment: one item of a queue at a time is laid before a rater, as a card.

A card is assigned by writing its rater's state as ``draft`` with the card's id and the order in
which it is shown, so that a reload shows the same card, and a press that names another is stale.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db.rating.queues import ItemRow, NewItem, QueueRow, item_row, item_values
from db.tables import QueueAssignment, QueueItem, QueueItemState, ReasoningVariant, utc_now

ItemState = Literal["submitted", "skipped", "discarded"]

ABANDONED_AFTER = timedelta(minutes=30)
"""A card that lay open for longer no longer keeps other raters from its item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An item as it lies before one rater."""

    id: str
    """Unique; a press must name it."""
    item: ItemRow
    swapped: bool
    """The other target stands on the left."""
    sampler: str
    assigned_at: datetime
    draft: dict[str, Any]
    """What the rater has entered so far."""


def open_card(session: Session, queue_id: int, rater_id: int) -> Card | None:
    """Return the card that lies before ``rater_id``; None where none is assigned."""
    return _newest_card(session, queue_id, rater_id, "draft")


def begun_card(session: Session, queue_id: int, rater_id: int) -> Card | None:
    """Return a card that was put back with something entered on it; None where there is none."""
    return _newest_card(session, queue_id, rater_id, "pending")


def _newest_card(session: Session, queue_id: int, rater_id: int, state: str) -> Card | None:
    row = session.execute(_items_in(queue_id, rater_id, state).limit(1)).one_or_none()
    return _card(row.QueueItem, row.QueueItemState) if row else None


def _items_in(queue_id: int, rater_id: int, *states: str) -> Select[QueueItem, QueueItemState]:
    """Return the select of a rater's items in these states, the last changed first."""
    return (
        select(QueueItem, QueueItemState)
        .join(QueueItemState, QueueItemState.item_id == QueueItem.id)
        .where(
            QueueItem.queue_id == queue_id,
            QueueItemState.rater_id == rater_id,
            QueueItemState.state.in_(states),
        )
        .order_by(QueueItemState.updated_at.desc())
    )


def assign(
    session: Session,
    item: ItemRow,
    rater_id: int,
    *,
    card_id: str,
    swapped: bool,
    sampler: str,
    after: datetime | None = None,
    entered: dict[str, Any] | None = None,
) -> Card:
    """Lay ``item`` before ``rater_id`` and return it as a card; the caller's write makes it so.

    Args:
        session: One that may write.
        item: What is laid down.
        rater_id: Before whom.
        card_id: Of the new card.
        swapped: Whether the other target stands on the left.
        sampler: How the item was chosen.
        after: When the card before was closed; this one is later, whatever the clock says.
        entered: What is entered on the card from the start.
    """
    now = _later(after)
    entered = entered or {}
    state = session.get(QueueItemState, (item.id, rater_id))
    if state is None:
        state = QueueItemState(item_id=item.id, rater_id=rater_id)
        session.add(state)
    state.state, state.updated_at = "draft", now
    state.draft = {
        "card": card_id,
        "swapped": swapped,
        "sampler": sampler,
        "dealt_at": now.isoformat(),
        "entered": entered,
    }
    session.flush()
    return Card(
        id=card_id, item=item, swapped=swapped, sampler=sampler, assigned_at=now, draft=entered
    )


def keep_draft(session: Session, card: Card, rater_id: int, entered: dict[str, Any]) -> None:
    """Keep what a rater has entered on a card, so that a reload brings it back."""
    state = session.get_one(QueueItemState, (card.item.id, rater_id))
    if state.state == "draft" and state.draft and state.draft["card"] == card.id:
        state.draft = {**state.draft, "entered": entered}


def close_card(session: Session, card: Card, rater_id: int, state: ItemState) -> datetime:
    """Take a card off the table: rated, skipped, or put aside for good; return when.

    Cards are told apart as earlier and later by these moments, so that none is before that of the
    card's own start, also where the clock was set back meanwhile.
    """
    row = session.get_one(QueueItemState, (card.item.id, rater_id))
    row.state, row.draft, row.updated_at = state, None, _later(card.assigned_at)
    session.flush()
    return row.updated_at


def _later(than: datetime | None) -> datetime:
    now = utc_now()
    return now if than is None or now > than else than + timedelta(microseconds=1)


def closed_items(
    session: Session, queue_id: int, rater_id: int, *states: ItemState
) -> list[ItemRow]:
    """Return the items that a rater closed in these ways, the last first."""
    query = _items_in(queue_id, rater_id, *states)
    return [item_row(row.QueueItem) for row in session.execute(query)]


def last_closed(session: Session, queue_id: int, rater_id: int) -> tuple[ItemRow, datetime] | None:
    """Return the item whose card ``rater_id`` closed last, and when; None where there is none."""
    closed = _items_in(queue_id, rater_id, *get_args(ItemState))
    found = session.execute(closed.limit(1)).one_or_none()
    return (item_row(found.QueueItem), found.QueueItemState.updated_at) if found else None


def put_back(session: Session, item_id: int, rater_id: int) -> None:
    """Make an item as good as never assigned to a rater, but for what is entered on its card."""
    row = session.get_one(QueueItemState, (item_id, rater_id))
    if row.draft and any(row.draft["entered"].values()):
        row.state = "pending"
    else:
        session.delete(row)
    session.flush()


def settle(session: Session, item_id: int, rater_id: int, state: ItemState | None) -> None:
    """Note that a rater is done with an item without a card; None: is as if never assigned it."""
    row = session.get(QueueItemState, (item_id, rater_id))
    if state is None:
        if row is not None:
            session.delete(row)
    else:
        if row is None:
            row = QueueItemState(item_id=item_id, rater_id=rater_id)
            session.add(row)
        row.state, row.draft, row.updated_at = state, None, utc_now()
    session.flush()


def taken_by(item_id: ColumnElement[int] | InstrumentedAttribute[int], but: int) -> Any:
    """Return the number of raters other than ``but`` who rated an item or have it before them."""
    others = aliased(QueueItemState)
    return (
        select(func.count())
        .where(
            others.item_id == item_id,
            others.rater_id != but,
            or_(
                others.state == "submitted",
                (others.state == "draft") & (others.updated_at > utc_now() - ABANDONED_AFTER),
            ),
        )
        .scalar_subquery()
    )


def is_own_text(rater_id: int) -> ColumnElement[bool]:
    """Return the condition that an item holds a text that the rater wrote."""
    return exists().where(
        ReasoningVariant.id.in_((QueueItem.variant_id, QueueItem.other_variant_id)),
        ReasoningVariant.author_id == rater_id,
    )


def is_theirs(queue: QueueRow, rater_id: int) -> ColumnElement[bool]:
    """Return the condition that an item is this rater's, where cards are shared out by name."""
    if queue.assigned is None:
        return true()
    return exists().where(
        QueueAssignment.item_id == QueueItem.id, QueueAssignment.rater_id == rater_id
    )


def candidates(session: Session, queue: QueueRow, rater_id: int, limit: int) -> list[ItemRow]:
    """Return up to ``limit`` items that may be assigned to a rater next, from a random place on.

    Left out are items that this rater has met, that enough raters have or had before them, and
    those with a text of the rater's own: who wrote a text does not rate it blind. Of cards that
    are shared out by name, only the rater's own are offered.
    """
    start = random.randrange(max(1, queue.n_items))
    query = _assignable(queue, rater_id).order_by(QueueItem.position).limit(limit)
    found = list(session.scalars(query.where(QueueItem.position >= start)))
    if len(found) < limit:
        before = query.where(QueueItem.position < start).limit(limit - len(found))
        found += session.scalars(before)
    return [item_row(item) for item in found]


def add_repeat(session: Session, original: ItemRow) -> ItemRow:
    """Add a hidden repeat of ``original`` to its queue and return it."""
    position = session.scalar(
        select(func.max(QueueItem.position)).where(QueueItem.queue_id == original.queue_id)
    )
    values = item_values(
        original.queue_id,
        (position or 0) + 1,
        NewItem(target=original.target, other=original.other),
    )
    item = QueueItem(**values, repeat_of_id=original.id)
    session.add(item)
    session.flush()
    return item_row(item)


def repeatable(
    session: Session, queue_id: int, rater_id: int, *, after: int, limit: int
) -> list[ItemRow]:
    """Return items that ``rater_id`` rated at least ``after`` cards ago and has met only once."""
    repeat = aliased(QueueItem)
    met_again = exists().where(
        repeat.repeat_of_id == QueueItem.id,
        QueueItemState.item_id == repeat.id,
        QueueItemState.rater_id == rater_id,
    )
    query = (
        _items_in(queue_id, rater_id, "submitted")
        .with_only_columns(QueueItem)
        .where(QueueItem.repeat_of_id.is_(None), ~met_again.correlate(QueueItem))
        .offset(after)
        .limit(limit)
    )
    return [item_row(item) for item in session.scalars(query)]


def count_submitted(session: Session, queue_id: int, rater_id: int) -> tuple[int, int]:
    """Return how many originals and how many hidden repeats ``rater_id`` has rated."""
    is_original = QueueItem.repeat_of_id.is_(None)
    counts = (func.count().filter(is_original), func.count().filter(~is_original))
    query = _items_in(queue_id, rater_id, "submitted").with_only_columns(*counts).order_by(None)
    originals, repeats = session.execute(query).one()
    return originals, repeats


def _assignable(queue: QueueRow, rater_id: int) -> Select[QueueItem]:
    own = aliased(QueueItemState)
    return select(QueueItem).where(
        QueueItem.queue_id == queue.id,
        QueueItem.repeat_of_id.is_(None),
        ~exists().where(own.item_id == QueueItem.id, own.rater_id == rater_id),
        taken_by(QueueItem.id, rater_id) < queue.overlap,
        ~is_own_text(rater_id),
        is_theirs(queue, rater_id),
    )


def _card(item: QueueItem, state: QueueItemState) -> Card:
    draft = state.draft or {}
    return Card(
        id=draft["card"],
        item=item_row(item),
        swapped=draft["swapped"],
        sampler=draft["sampler"],
        assigned_at=datetime.fromisoformat(draft["dealt_at"]),
        draft=draft.get("entered", {}),
    )
