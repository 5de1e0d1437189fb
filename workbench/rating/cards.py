"""What a rater does with the card before them: rate, skip, mark, take back.

Every judgement names its card. One that names another card than the one that lies there came from
an older page or came twice, and changes nothing. A judgement and the next card are one transaction.
"""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from db.rating.assignment import (
    Card,
    ItemState,
    add_repeat,
    assign,
    begun_card,
    close_card,
    closed_items,
    count_submitted,
    last_closed,
    open_card,
    put_back,
    repeatable,
)
from db.rating.queues import ItemRow, QueueRow
from db.rating.ratings import (
    FLAG,
    PREFERENCE,
    REPEAT,
    TAG,
    NewRating,
    Outcome,
    Target,
    active_ratings,
    add_ratings,
    item_ratings,
    undo_ratings,
)
from db.tables import Rating, utc_now
from workbench.rating.axes import store_axes
from workbench.rating.sampling import SAMPLERS, Sampler, choose

REPEAT_AFTER = 6
"""Cards between an original and its repeat at least."""
VALUES, TAGS, NOTE, ANSWER_SEEN = "values", "tags", "note", "answer_seen"
"""What is entered on a card before it is submitted, by these keys."""
MAX_SECONDS = 600.0
"""Longer than this on one card was a break."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRating:
    """What a rater says about a card."""

    outcome: Outcome | None = None
    """Of a comparison: the target, the other one, a tie, or both bad, whatever stood left."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Axis → value; ``ok`` → 1 or 0."""
    tags: tuple[str, ...] = ()
    mark: str | None = None
    """What is wrong with it."""
    note: str | None = None
    answer_seen: bool = False
    seconds: float | None = None
    """From when the card was shown, by a clock that nobody sets; None: from when it was dealt."""

    @property
    def is_empty(self) -> bool:
        """Nothing is said."""
        return not (self.outcome or self.values or self.tags or self.mark)

    def facts(
        self, item: ItemRow, axis_ids: Mapping[str, int]
    ) -> dict[tuple[str, str | None, Target], dict[str, Any]]:
        """Return what is said by axis, label and target, as the fields of a rating that hold it.

        A tag of a comparison speaks of both texts, so that it is found at either.

        Args:
            item: What it is said of.
            axis_ids: How the axes are worded.
        """
        target, other = item.target, item.other
        found: dict[tuple[str, str | None, Target], dict[str, Any]] = {}
        if self.outcome:
            found[PREFERENCE, None, target] = {"outcome": self.outcome, "other": other}
        for axis, value in self.values.items():
            found[axis, None, target] = {"value": float(value), "axis_id": axis_ids.get(axis)}
        for tag in self.tags:
            found |= {(TAG, tag, side): {"label": tag} for side in (target, other) if side}
        if self.mark:
            found[FLAG, self.mark, target] = {"label": self.mark}
        return found


def current_card(database: Database, queue: QueueRow, rater_id: int) -> Card | None:
    """Return the card that lies before a rater, dealing one if none does; None: all is rated."""
    with database.read() as session:
        if card := open_card(session, queue.id, rater_id):
            return card
    with database.write() as session:
        return open_card(session, queue.id, rater_id) or _assign_next(session, queue, rater_id)


def submit(
    database: Database, queue: QueueRow, rater_id: int, card_id: str, rating: CardRating
) -> Card | None:
    """Store a rating of the card called ``card_id``; return the card that lies there now."""
    return _close(database, queue, rater_id, card_id, "submitted", rating)


def skip(database: Database, queue: QueueRow, rater_id: int, card_id: str) -> Card | None:
    """Skip the card called ``card_id``; return the next one."""
    return _close(database, queue, rater_id, card_id, "skipped", None)


def mark_problem(database: Database, queue: QueueRow, rater_id: int, card_id: str) -> Card | None:
    """Put the card called ``card_id`` aside because something is wrong with it; return the next."""
    rating = CardRating(mark="problem")
    return _close(database, queue, rater_id, card_id, "discarded", rating)


def undo(database: Database, queue: QueueRow, rater_id: int) -> Card | None:
    """Take back what the rater did last in this queue and lay that card down again.

    Works again and again, back to the first card, also after a reload. None: nothing to take back.
    """
    with database.write() as session:
        found = last_closed(session, queue.id, rater_id)
        if found is None:
            return None
        return _lay_again(session, queue, rater_id, *found)


def reopen(database: Database, queue: QueueRow, rater_id: int, item_id: int) -> Card | None:
    """Lay a card down again that the rater skipped or put aside; None: it is none of these."""
    with database.write() as session:
        closed = closed_items(session, queue.id, rater_id, "skipped", "discarded")
        item = next((one for one in closed if one.id == item_id), None)
        return None if item is None else _lay_again(session, queue, rater_id, item, utc_now())


def _lay_again(
    session: Session, queue: QueueRow, rater_id: int, item: ItemRow, closed_at: datetime
) -> Card:
    """Take back what the rater said of an item and lay its card down with that entered on it."""
    if open_now := open_card(session, queue.id, rater_id):
        put_back(session, open_now.item.id, rater_id)
    rated = [session.get_one(Rating, id) for id in item_ratings(session, rater_id, item.id)]
    undo_ratings(session, [rating.id for rating in rated])
    first = rated[0] if rated else None
    return _assign(
        session,
        item,
        rater_id,
        (first.sampler if first else None) or queue.spec.get("sampler", SAMPLERS[0]),
        swapped=first.swapped if first else None,
        after=closed_at,
        entered=_entered(rated),
    )


def _entered(rated: Sequence[Rating]) -> dict[str, Any]:
    """Return what was said of a card as what is entered on it: to correct it takes one key."""
    if not rated:
        return {}
    return {
        VALUES: {rating.axis: int(rating.value) for rating in rated if rating.value is not None},
        TAGS: list(dict.fromkeys(rating.label for rating in rated if rating.axis == TAG)),
        NOTE: rated[0].note or "",
        ANSWER_SEEN: rated[0].scope == "reasoning" and rated[0].answer_seen,
    }


def _close(
    database: Database,
    queue: QueueRow,
    rater_id: int,
    card_id: str,
    state: ItemState,
    rating: CardRating | None,
) -> Card | None:
    with database.write() as session:
        card = open_card(session, queue.id, rater_id)
        if card is None:
            return _assign_next(session, queue, rater_id)
        if card.id != card_id:
            return card
        if rating is not None:
            if rating.is_empty:
                return card
            axis_ids = store_axes(session, queue.scope) if rating.values else {}
            add_ratings(session, _new_ratings(queue, rater_id, card, rating, axis_ids))
        closed_at = close_card(session, card, rater_id, state)
        return _assign_next(session, queue, rater_id, after=closed_at)


def _seconds(card: Card, rating: CardRating) -> float:
    """Return the time that a card took; a clock that was set back makes it no less than 0."""
    seconds = rating.seconds
    if seconds is None:
        seconds = (utc_now() - card.assigned_at).total_seconds()
    return round(min(max(seconds, 0.0), MAX_SECONDS), 3)


def _new_ratings(
    queue: QueueRow, rater_id: int, card: Card, rating: CardRating, axis_ids: Mapping[str, int]
) -> list[NewRating]:
    """Return a row for each thing said; the first carries the card's own id."""
    facts = rating.facts(card.item, axis_ids).items()
    seconds = _seconds(card, rating)
    return [
        NewRating(
            rater_id=rater_id,
            scope=queue.scope,
            target=target,
            axis=axis,
            blind=True,
            swapped=card.swapped if card.item.other else None,
            answer_seen=rating.answer_seen or queue.scope != "reasoning",
            sampler=card.sampler,
            seconds=seconds,
            queue_item_id=card.item.id,
            card_id=card.id if number == 0 else f"{card.id}/{number}",
            note=rating.note,
            **fields,
        )
        for number, ((axis, _, target), fields) in enumerate(facts)
    ]


def _assign_next(
    session: Session, queue: QueueRow, rater_id: int, after: datetime | None = None
) -> Card | None:
    if begun := begun_card(session, queue.id, rater_id):
        return _assign(
            session,
            begun.item,
            rater_id,
            begun.sampler,
            swapped=begun.swapped,
            after=after,
            entered=begun.draft,
        )
    # Due at a random moment around the share, so that nobody can count the cards.
    if random.random() < 0.5 and (card := _repeat(session, queue, rater_id, after)):
        return card
    sampler: Sampler = queue.spec.get("sampler", SAMPLERS[0])
    item = choose(session, queue, rater_id, sampler)
    if item is None:
        return _repeat(session, queue, rater_id, after)
    return _assign(session, item, rater_id, sampler, after=after)


def _repeat(
    session: Session, queue: QueueRow, rater_id: int, after: datetime | None
) -> Card | None:
    """Lay down an item that was rated before, with its sides swapped, if one is due."""
    original = _due_repeat(session, queue, rater_id)
    if original is None:
        return None
    shown = session.scalar(
        active_ratings()
        .where(Rating.rater_id == rater_id, Rating.queue_item_id == original.id)
        .with_only_columns(Rating.swapped)
        .limit(1)
    )
    item = add_repeat(session, original)
    return _assign(session, item, rater_id, REPEAT, swapped=not shown, after=after)


def _assign(
    session: Session,
    item: ItemRow,
    rater_id: int,
    sampler: str,
    *,
    swapped: bool | None = None,
    after: datetime | None = None,
    entered: dict[str, Any] | None = None,
) -> Card:
    if swapped is None:
        swapped = random.random() < 0.5
    return assign(
        session,
        item,
        rater_id,
        card_id=uuid.uuid4().hex,
        swapped=swapped and item.other is not None,
        sampler=sampler,
        after=after,
        entered=entered,
    )


def _due_repeat(session: Session, queue: QueueRow, rater_id: int) -> ItemRow | None:
    """Return the item that is shown again now, if one is due."""
    if queue.repeat_share <= 0:
        return None
    originals, repeats = count_submitted(session, queue.id, rater_id)
    if repeats + 1 > queue.repeat_share * originals:
        return None
    found = repeatable(session, queue.id, rater_id, after=REPEAT_AFTER, limit=20)
    return random.choice(found) if found else None
