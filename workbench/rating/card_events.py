"""What a rater did on cards in the browser: each event is applied to the store once, in order."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import or_, select

from db.database import Database
from db.rating.assignment import (
    Card,
    keep_draft,
    open_card,
)
from db.rating.queues import QueueRow
from db.rating.ratings import (
    HIGHEST,
    LOWEST,
    OK,
    TAG,
    Outcome,
)
from db.tables import Rating
from workbench.rating.cards import (
    ANSWER_SEEN,
    NOTE,
    TAGS,
    VALUES,
    CardRating,
    mark_problem,
    skip,
    submit,
    undo,
)

MAX_TAGS: Final = 10
MAX_TAG: Final = 60
MAX_NOTE: Final = 2_000

Act = Literal["rate", "skip", "flag", "undo", "draft"]
Place = Literal["left", "right", "tie", "both_bad"]


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
    elif card is None:
        pass
    elif event.act == "rate":
        submit(database, queue, rater_id, card.id, _card_rating(card, event))
    elif event.act == "skip":
        skip(database, queue, rater_id, card.id)
    elif event.act == "flag":
        mark_problem(database, queue, rater_id, card.id)
    else:
        enter(database, card, rater_id, event.entered)
    return True


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


def _card_rating(card: Card, event: CardEvent) -> CardRating:
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
