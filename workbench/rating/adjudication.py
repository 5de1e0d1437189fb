"""Cards on which raters disagree, and a person's verdict that counts instead of what they said."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.orm import Session

from db.bulk import Page, page_of_keys
from db.database import Database
from db.errors import UsageError
from db.rating.assignment import is_own_text
from db.rating.queues import ItemRow, QueueRow, get_items
from db.rating.ratings import (
    FLAG,
    OK,
    TAG,
    NewRating,
    active_ratings,
    add_ratings,
    undo_ratings,
)
from db.tables import QueueItem, Rater, Rating
from workbench.rating.axes import store_axes
from workbench.rating.cards import CardRating

MIN_GAP = 2
"""Values from 1 to 5 so far apart disagree; neighbours do not."""
SAMPLER = "adjudication"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one rater, or the verdict, says of a card on one axis."""

    rater: str
    axis: str
    value: float | None
    outcome: str | None
    note: str | None
    is_adjudication: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One card of which raters said different things, on the axes on which they did."""

    item: ItemRow
    said: tuple[Said, ...]

    @property
    def axes(self) -> list[str]:
        """Axes on which they differ."""
        return list(dict.fromkeys(one.axis for one in self.said))

    @property
    def verdict(self) -> dict[str, Said]:
        """Axis → what was settled."""
        return {one.axis: one for one in self.said if one.is_adjudication}


def disagreements(
    session: Session, queue: QueueRow, page: int = 1, page_size: int = 10
) -> Page[Disagreement]:
    """Return the cards on which people disagree, settled ones included, in the queue's order.

    They do where outcomes differ, one says OK and another not, or values are ``MIN_GAP`` or more
    apart. Hidden repeats are left out: they tell how far one agrees with oneself.
    """
    differing = _differing(queue).subquery()
    query = (
        select(QueueItem.id)
        .where(QueueItem.id.in_(select(differing.c.queue_item_id)))
        .order_by(QueueItem.position)
    )
    found, total, page = page_of_keys(session, query, page, page_size)
    ids = [row.id for row in found]
    items = {item.id: item for item in get_items(session, ids)}
    said = _said(session, queue, ids)
    rows = tuple(Disagreement(item=items[id], said=tuple(said[id])) for id in ids)
    return Page(rows=rows, total=total, page=page, page_size=page_size)


def adjudicate(
    database: Database, queue: QueueRow, rater_id: int, item_id: int, rating: CardRating
) -> None:
    """Settle a card: ``rating`` counts on its axes instead of what raters said or will say.

    An earlier verdict on the same axes is taken back; what is said again stays as it is.

    Raises:
        UsageError: The card is not in this queue, or holds a text of this person's own.
    """
    with database.write() as session:
        of_queue = select(QueueItem.id).where(
            QueueItem.id == item_id, QueueItem.queue_id == queue.id
        )
        if session.scalar(of_queue) is None:
            raise UsageError("Queue {id} has no card {item}.", id=queue.id, item=item_id)
        if session.scalar(of_queue.where(is_own_text(rater_id))) is not None:
            raise UsageError("You wrote a text on this card; another person has to settle it.")
        (item,) = get_items(session, [item_id])
        axis_ids = store_axes(session, queue.scope) if rating.values else {}
        facts = rating.facts(item, axis_ids)
        axes = [axis for axis, _, _ in facts]
        undo_ratings(session, _verdict_ids(session, item_id, axes))
        add_ratings(
            session,
            [
                NewRating(
                    rater_id=rater_id,
                    scope=queue.scope,
                    target=target,
                    axis=axis,
                    blind=True,
                    swapped=False if item.other else None,
                    answer_seen=queue.scope != "reasoning",
                    sampler=SAMPLER,
                    queue_item_id=item_id,
                    card_id=uuid.uuid4().hex,
                    note=rating.note,
                    is_adjudication=True,
                    **fields,
                )
                for (axis, _, target), fields in facts.items()
            ],
        )


def withdraw(database: Database, item_id: int) -> None:
    """Take the verdict on a card back: what raters said counts again."""
    with database.write() as session:
        undo_ratings(session, _verdict_ids(session, item_id, None))


def _verdict_ids(session: Session, item_id: int, axes: Sequence[str] | None) -> list[int]:
    query = active_ratings().where(Rating.queue_item_id == item_id, Rating.is_adjudication)
    if axes is not None:
        query = query.where(Rating.axis.in_(axes))
    return list(session.scalars(query.with_only_columns(Rating.id)))


def _judged(queue: QueueRow) -> Select[Rating]:
    """Return the select of what people said of a queue's cards; columns are to come."""
    return (
        active_ratings()
        .join(QueueItem, QueueItem.id == Rating.queue_item_id)
        .join(Rater, Rater.id == Rating.rater_id)
        .where(
            QueueItem.queue_id == queue.id,
            QueueItem.repeat_of_id.is_(None),
            Rater.kind == "person",
            Rating.axis.not_in((TAG, FLAG)),
        )
    )


def _differing(queue: QueueRow) -> Select[int | None, str]:
    gap = func.max(Rating.value) - func.min(Rating.value)
    least = case((Rating.axis == OK, 1), else_=MIN_GAP)
    return (
        _judged(queue)
        .where(Rating.is_adjudication.is_(False))
        .with_only_columns(Rating.queue_item_id, Rating.axis)
        .group_by(Rating.queue_item_id, Rating.axis)
        .having(or_(func.max(Rating.outcome) != func.min(Rating.outcome), gap >= least))
    )


def _said(session: Session, queue: QueueRow, ids: Sequence[int]) -> dict[int, list[Said]]:
    differing = _differing(queue).where(Rating.queue_item_id.in_(ids))
    axes = set(session.execute(differing).all())
    columns = (Rating, Rater.name)
    query = _judged(queue).where(Rating.queue_item_id.in_(ids)).with_only_columns(*columns)
    found: dict[int, list[Said]] = {id: [] for id in ids}
    for rating, name in session.execute(query.order_by(Rating.id)):
        item_id = rating.queue_item_id
        if item_id is not None and (item_id, rating.axis) in axes:
            found[item_id].append(
                Said(
                    rater=name,
                    axis=rating.axis,
                    value=rating.value,
                    outcome=rating.outcome,
                    note=rating.note,
                    is_adjudication=rating.is_adjudication,
                )
            )
    return found
