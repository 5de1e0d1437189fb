"""What a rater does with the card on the desk: say, skip, put aside, take back.

Every judgement names its card. One that names another card than the one that lies there came from
an older page or came twice, and changes nothing. A judgement and the next card are one transaction.
"""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from db.database import Database
from db.rating.assignment import (
    Card,
    ItemState,
    add_repeat,
    assign,
    begun_card,
    close_card,
    count_submitted,
    keep_draft,
    last_closed,
    open_card,
    put_back,
    repeatable,
)
from db.rating.queues import ItemRow, QueueRow
from db.rating.ratings import (
    FLAG,
    HIGHEST,
    LOWEST,
    OK,
    PREFERENCE,
    REPEAT,
    TAG,
    NewRating,
    Outcome,
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
    mark_problem: str | None = None
    note: str | None = None
    answer_seen: bool = False
    seconds: float | None = None
    """From when the card was shown, by a clock that nobody sets; None: from when it was dealt."""

    @property
    def is_empty(self) -> bool:
        """Nothing was said."""
        return not (self.outcome or self.values or self.tags or self.mark_problem)


def current_card(database: Database, queue: QueueRow, rater_id: int) -> Card | None:
    """Return the card that lies before a rater, dealing one if none does; None: all is rated."""
    with database.read() as session:
        if card := open_card(session, queue.id, rater_id):
            return card
    with database.write() as session:
        return open_card(session, queue.id, rater_id) or _assign_next(session, queue, rater_id)


def submit(
    database: Database, queue: QueueRow, rater_id: int, card_id: str, verdict: CardRating
) -> Card | None:
    """Store a verdict on the card called ``card_id``; return the card that lies there now."""
    return _close(database, queue, rater_id, card_id, "submitted", verdict)


def skip(database: Database, queue: QueueRow, rater_id: int, card_id: str) -> Card | None:
    """Skip the card called ``card_id``; return the next one."""
    return _close(database, queue, rater_id, card_id, "skipped", None)


def mark_problem(database: Database, queue: QueueRow, rater_id: int, card_id: str) -> Card | None:
    """Put the card called ``card_id`` aside because something is wrong with it; return the next."""
    verdict = CardRating(mark_problem="problem")
    return _close(database, queue, rater_id, card_id, "discarded", verdict)


def undo(database: Database, queue: QueueRow, rater_id: int) -> Card | None:
    """Take back what the rater did last in this queue and lay that card down again.

    Works again and again, back to the first card, also after a reload. None: nothing to take back.
    """
    with database.write() as session:
        found = last_closed(session, queue.id, rater_id)
        if found is None:
            return None
        last, closed_at = found
        if open_now := open_card(session, queue.id, rater_id):
            put_back(session, open_now.item.id, rater_id)
        said = [session.get_one(Rating, id) for id in item_ratings(session, rater_id, last.id)]
        undo_ratings(session, [rating.id for rating in said])
        first = said[0] if said else None
        return _assign(
            session,
            last,
            rater_id,
            (first.sampler if first else None) or queue.spec.get("sampler", SAMPLERS[0]),
            swapped=first.swapped if first else None,
            after=closed_at,
            entered=_entered(said),
        )


def _entered(said: Sequence[Rating]) -> dict[str, Any]:
    """Return what was said of a card as what is entered on it: to correct it takes one key."""
    if not said:
        return {}
    return {
        VALUES: {rating.axis: int(rating.value) for rating in said if rating.value is not None},
        TAGS: [rating.label for rating in said if rating.axis == TAG],
        NOTE: said[0].note or "",
        ANSWER_SEEN: said[0].scope == "reasoning" and said[0].answer_seen,
    }


def _close(
    database: Database,
    queue: QueueRow,
    rater_id: int,
    card_id: str,
    state: ItemState,
    verdict: CardRating | None,
) -> Card | None:
    with database.write() as session:
        card = open_card(session, queue.id, rater_id)
        if card is None:
            return _assign_next(session, queue, rater_id)
        if card.id != card_id:
            return card
        if verdict is not None:
            if verdict.is_empty:
                return card
            axis_ids = store_axes(session, queue.scope) if verdict.values else {}
            add_ratings(session, _facts(queue, rater_id, card, verdict, axis_ids))
        closed_at = close_card(session, card, rater_id, state)
        return _assign_next(session, queue, rater_id, after=closed_at)


def _seconds(card: Card, verdict: CardRating) -> float:
    """Return the time that a card took; a clock that was set back makes it no less than 0."""
    seconds = verdict.seconds
    if seconds is None:
        seconds = (utc_now() - card.assigned_at).total_seconds()
    return round(min(max(seconds, 0.0), MAX_SECONDS), 3)


def _facts(
    queue: QueueRow, rater_id: int, card: Card, verdict: CardRating, axis_ids: Mapping[str, int]
) -> list[NewRating]:
    """Return a row for each thing said; the first carries the card's own id."""
    seconds = _seconds(card, verdict)

    def fact(axis: str, number: int, **said: object) -> NewRating:
        return NewRating(
            rater_id=rater_id,
            scope=queue.scope,
            target=card.item.target,
            axis=axis,
            blind=True,
            swapped=card.swapped if card.item.other else None,
            answer_seen=verdict.answer_seen or queue.scope != "reasoning",
            sampler=card.sampler,
            seconds=seconds,
            queue_item_id=card.item.id,
            card_id=card.id if number == 0 else f"{card.id}/{number}",
            note=verdict.note,
            **said,  # type: ignore[arg-type]
        )

    said: list[tuple[str, dict[str, object]]] = []
    if verdict.outcome:
        said.append((PREFERENCE, {"outcome": verdict.outcome, "other": card.item.other}))
    said += [
        (axis, {"value": float(value), "axis_id": axis_ids.get(axis)})
        for axis, value in verdict.values.items()
    ]
    said += [(TAG, {"label": tag}) for tag in verdict.tags]
    if verdict.mark_problem:
        said.append((FLAG, {"label": verdict.mark_problem}))
    return [fact(axis, number, **words) for number, (axis, words) in enumerate(said)]


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


Act = Literal["rate", "skip", "flag", "undo", "draft"]
Place = Literal["left", "right", "tie", "both_bad"]
MAX_TAGS: Final = 10
MAX_TAG: Final = 60
MAX_NOTE: Final = 2_000


class CardEvent(BaseModel):
    """One thing done on one card: rated, skipped, put aside, taken back, or something entered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=64)
    card: str | None
    """The card that it was done on; None where none lay there."""
    act: Act
    place: Place | None = None
    """Of a comparison: which side is better, as the sides stood."""
    values: dict[str, Annotated[int, Field(ge=0, le=HIGHEST)]] = Field(default_factory=dict)
    """Axis → value; ``ok`` → 1 or 0."""
    tags: tuple[str, ...] = ()
    note: str = ""
    seconds: float | None = Field(default=None, allow_inf_nan=False)
    """Since the card was shown, by the browser's monotonic clock."""

    @field_validator("values")
    @classmethod
    def _in_range(cls, values: dict[str, int]) -> dict[str, int]:
        for axis, value in values.items():
            low, high = (0, 1) if axis == OK else (LOWEST, HIGHEST)
            if not low <= value <= high:
                raise ValueError(f"{axis} is {value}; it goes from {low} to {high}")
        return values

    @property
    def clean_tags(self) -> tuple[str, ...]:
        """Tags without blanks around them, each once."""
        named = (tag.strip()[:MAX_TAG] for tag in self.tags)
        return tuple(dict.fromkeys(tag for tag in named if tag))[:MAX_TAGS]

    @property
    def entered(self) -> dict[str, Any]:
        """What stands on the card before it is submitted."""
        return {
            VALUES: dict(self.values),
            TAGS: list(self.clean_tags),
            NOTE: self.note[:MAX_NOTE],
        }


def apply_event(database: Database, queue: QueueRow, rater_id: int, event: CardEvent) -> bool:
    """Apply an event; the same one again changes nothing.

    Returns:
        False where a judgement could not be stored since its card no longer lies before the rater
        and has not that judgement: it was taken back, or judged otherwise, on another page.
    """
    with database.read() as session:
        card = open_card(session, queue.id, rater_id)
    if (card.id if card else None) != event.card:
        return event.act != "rate" or _is_stored(database, event)
    if event.act == "undo":
        if card is not None and any(event.entered.values()):
            enter(database, card, rater_id, event.entered)
        undo(database, queue, rater_id)
    elif card is not None:
        _apply(database, queue, rater_id, card, event)
    return True


def _apply(
    database: Database, queue: QueueRow, rater_id: int, card: Card, event: CardEvent
) -> None:
    if event.act == "rate":
        submit(database, queue, rater_id, card.id, _verdict(card, event))
    elif event.act == "skip":
        skip(database, queue, rater_id, card.id)
    elif event.act == "flag":
        mark_problem(database, queue, rater_id, card.id)
    else:
        enter(database, card, rater_id, event.entered)


def enter(database: Database, card: Card, rater_id: int, entered: dict[str, Any]) -> None:
    """Keep what is entered on a card, beside what is known of it."""
    with database.write() as session:
        keep_draft(session, card, rater_id, {**card.draft, **entered})


def entered_on(card: Card) -> dict[str, Any]:
    """Return what is entered on a card: values by axis, tags, a note."""
    # Stores written before cards held notes kept values by axis, side by side with the rest.
    old = {
        axis: int(value)
        for axis, value in card.draft.items()
        if axis != ANSWER_SEEN and isinstance(value, (int, float))
    }
    return {
        VALUES: card.draft.get(VALUES, old),
        TAGS: card.draft.get(TAGS, []),
        NOTE: card.draft.get(NOTE, ""),
    }


def _verdict(card: Card, event: CardEvent) -> CardRating:
    return CardRating(
        outcome=_outcome(event.place, card.swapped),
        values={axis: float(value) for axis, value in event.values.items()},
        tags=event.clean_tags,
        note=event.note.strip()[:MAX_NOTE] or None,
        answer_seen=bool(card.draft.get(ANSWER_SEEN)),
        seconds=event.seconds,
    )


def _outcome(place: Place | None, swapped: bool) -> Outcome | None:
    if place == "left":
        return "b" if swapped else "a"
    if place == "right":
        return "a" if swapped else "b"
    return place


def _is_stored(database: Database, event: CardEvent) -> bool:
    """Tell whether the card was judged as in ``event``, which may have come before."""
    own = or_(Rating.card_id == event.card, Rating.card_id.startswith(f"{event.card}/"))
    with database.read() as session:
        rows = list(session.scalars(select(Rating).where(own, Rating.undoes_id.is_(None))))
    if event.place:
        return any(row.outcome == _outcome(event.place, bool(row.swapped)) for row in rows)
    values = {row.axis: row.value for row in rows if row.value is not None}
    tags = {row.label for row in rows if row.axis == TAG}
    return bool(rows) and values == event.values and tags == set(event.clean_tags)
