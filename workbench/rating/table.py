"""Rating as a table: many items at once, and what was said of them reviewed and corrected.

Nothing is changed in place: a correction undoes what was said and says it anew, both as facts.
"""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import Select, exists, literal, select
from sqlalchemy.orm import Session, aliased

from db.bulk import Page, page_of_keys
from db.database import Database
from db.rating.assignment import is_own_text, is_theirs, settle, taken_by
from db.rating.queues import ItemRow, QueueRow, get_items, item_row
from db.rating.ratings import (
    PREFERENCE,
    TAG,
    NewRating,
    Outcome,
    Target,
    active_ratings,
    add_ratings,
    undo_ratings,
)
from db.tables import QueueItem, QueueItemState, Rating
from workbench.rating.axes import store_axes
from workbench.rating.cards import CardRating

SAMPLER = "table"
"""How an item was chosen that is first rated in a table: the rater saw many at once."""


NOTHING = CardRating()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One item with what holds of what the rater said."""

    item: ItemRow
    swapped: bool
    """The other target stands on the left, as when it was rated."""
    rated: CardRating


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What became of the changes to a table."""

    changed: int
    """Items of which something else is said now."""
    taken: int
    """Items that enough others had rated meanwhile; what was said of them was not stored."""


def table_page(
    session: Session, queue: QueueRow, rater_id: int, page: int, page_size: int
) -> Page[TableRow]:
    """Return one page of a queue's items as a table.

    Of a table queue: all that the rater may rate, in their order. Of another queue: those that the
    rater has rated, the latest first.
    """
    query = _to_rate(queue, rater_id) if queue.way == "table" else _rated(queue, rater_id)
    found, total, page = page_of_keys(session, query, page, page_size)
    items = {item.id: item for item in get_items(session, [row.id for row in found])}
    rated = _active(session, rater_id, list(items))
    rows = [_row(items[row.id], rated[row.id]) for row in found]
    return Page(rows=tuple(rows), total=total, page=page, page_size=page_size)


def save_table(
    database: Database, queue: QueueRow, rater_id: int, wanted: Mapping[int, CardRating]
) -> Saved:
    """Make the given things be what the rater says of the items, by adding facts; all or nothing.

    What is said already is left alone, so that the same table again adds nothing.
    """
    changed = taken = 0
    axis_ids: dict[str, int] = {}
    with database.write() as session:
        known = _active(session, rater_id, list(wanted))
        for row in session.scalars(select(QueueItem).where(QueueItem.id.in_(wanted))).all():
            item, before = item_row(row), known[row.id]
            rated = wanted[row.id]
            if item.queue_id != queue.id or rated == _row_rating(before):
                continue
            others = session.scalar(select(taken_by(literal(item.id), rater_id))) or 0
            if not before and others >= queue.overlap:
                taken += 1
                continue
            axis_ids = axis_ids or store_axes(session, queue.scope)
            _correct(session, queue, rater_id, item, before, rated, axis_ids)
            settle(session, item.id, rater_id, "submitted" if not rated.is_empty else None)
            changed += 1
    return Saved(changed=changed, taken=taken)


def _correct(
    session: Session,
    queue: QueueRow,
    rater_id: int,
    item: ItemRow,
    before: Sequence[Rating],
    rated: CardRating,
    axis_ids: Mapping[str, int],
) -> None:
    keys = {_key(rating): rating for rating in before}
    wanted = rated.facts(item, axis_ids)
    unchanged = {
        key
        for key, rating in keys.items()
        if key in wanted
        and (rating.value, rating.outcome) == (wanted[key].get("value"), wanted[key].get("outcome"))
    }
    undo_ratings(session, [rating.id for key, rating in keys.items() if key not in unchanged])
    first = before[0] if before else None
    base = NewRating(
        rater_id=rater_id,
        scope=queue.scope,
        target=item.target,
        axis="",
        blind=first.blind if first else True,
        swapped=first.swapped if first else None,
        answer_seen=first.answer_seen if first else queue.scope != "reasoning",
        sampler=first.sampler if first else SAMPLER,
        seconds=first.seconds if first else None,
        queue_item_id=item.id,
        card_id="",
        note=first.note if first else None,
    )
    add_ratings(
        session,
        [
            replace(base, axis=axis, target=target, card_id=uuid.uuid4().hex, **fields)
            for (axis, label, target), fields in wanted.items()
            if (axis, label, target) not in unchanged
        ],
    )


def _key(rating: Rating) -> tuple[str, str | None, Target]:
    target = Target(
        question_id=rating.question_id, variant_id=rating.variant_id, answer_id=rating.answer_id
    )
    return rating.axis, rating.label, target


def _row_rating(ratings: Sequence[Rating]) -> CardRating:
    outcome = next((r.outcome for r in ratings if r.axis == PREFERENCE), None)
    return CardRating(
        outcome=cast(Outcome | None, outcome),
        values={r.axis: r.value for r in ratings if r.value is not None},
        tags=tuple(dict.fromkeys(r.label for r in ratings if r.axis == TAG and r.label)),
    )


def _row(item: ItemRow, ratings: Sequence[Rating]) -> TableRow:
    swapped = next((r.swapped for r in ratings if r.swapped is not None), False)
    return TableRow(item=item, swapped=swapped, rated=_row_rating(ratings))


def _active(
    session: Session, rater_id: int, item_ids: Sequence[int]
) -> defaultdict[int, list[Rating]]:
    """Return what holds of what the rater said of each item; flags are not shown in tables."""
    query = (
        active_ratings()
        .where(
            Rating.rater_id == rater_id,
            Rating.queue_item_id.in_(item_ids),
            Rating.is_adjudication.is_(False),
        )
        .order_by(Rating.id)
    )
    found: defaultdict[int, list[Rating]] = defaultdict(list)
    for rating in session.scalars(query):
        if rating.queue_item_id is not None and rating.axis != "flag":
            found[rating.queue_item_id].append(rating)
    return found


def _to_rate(queue: QueueRow, rater_id: int) -> Select[*tuple[Any, ...]]:
    own = select(QueueItemState.item_id).where(QueueItemState.rater_id == rater_id)
    return (
        select(QueueItem.id)
        .where(
            QueueItem.queue_id == queue.id,
            QueueItem.repeat_of_id.is_(None),
            QueueItem.id.in_(own) | (taken_by(QueueItem.id, rater_id) < queue.overlap),
            ~is_own_text(rater_id),
            is_theirs(queue, rater_id),
        )
        .order_by(QueueItem.position)
    )


def _rated(queue: QueueRow, rater_id: int) -> Select[*tuple[Any, ...]]:
    """Return the items rated; of one that came back only the later card, in the other's stead.

    To see both would unhide it, and so would a last card that is not listed.
    """
    repeat, later = aliased(QueueItem), aliased(QueueItemState)
    came_back = exists().where(
        repeat.repeat_of_id == QueueItem.id,
        later.item_id == repeat.id,
        later.rater_id == rater_id,
        later.state == "submitted",
    )
    return (
        select(QueueItem.id)
        .join(QueueItemState, QueueItemState.item_id == QueueItem.id)
        .where(
            QueueItem.queue_id == queue.id,
            QueueItemState.rater_id == rater_id,
            QueueItemState.state == "submitted",
            ~came_back,
        )
        .order_by(QueueItemState.updated_at.desc(), QueueItem.id.desc())
    )
