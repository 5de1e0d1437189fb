"""Cards of a rating file: each stands for one judgement, in the file and in the store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.identity import short_hash
from db.rating.ratings import Target
from db.tables import Answer, Question, Rater, Rating, ReasoningVariant
from serving.importers.source import Source
from workbench.rating.rating_fields import RatingFields

IMPORTED = "import-"
"""How the cards begin that stand for rows without one."""
_FLIPPED = {"a": "b", "b": "a"}


@dataclass(frozen=True, slots=True)
class Claim:
    """Who judges what (``subject``), and what is said of it (``verdict``)."""

    subject: tuple[Any, ...]
    verdict: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A row with the texts that it speaks of, and the card that it is stored under."""

    line: int
    said: RatingFields
    targets: tuple[Target, ...]
    card_id: str
    claim: Claim


class Cards:
    """Gathers the rows of a file by card, and leaves out what the store has."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._rows: list[Judged] = []

    def add(self, line: int, said: RatingFields, *targets: Target) -> None:
        """Take a row in."""
        card = said.card_id or f"{IMPORTED}{self._hash(said, targets)}"
        claim = _claim(said.rater, said, [_ids(target) for target in targets])
        self._rows.append(Judged(line=line, said=said, targets=targets, card_id=card, claim=claim))

    def new(self, found: Source) -> list[Judged]:
        """Return one row for each card that is new; what contradicts becomes a problem."""
        rows = list(self._each_once(found))
        stored = self._stored(row.card_id for row in rows)
        rows = [self._with_own_card(row, stored.get(row.card_id)) for row in rows]
        stored |= self._stored(row.card_id for row in rows)
        return [row for row in rows if self._is_new(row, stored.get(row.card_id), found)]

    def _each_once(self, found: Source) -> Iterator[Judged]:
        """Yield the first row of each card; without cards, of each subject at one time."""
        first: dict[object, Judged] = {}
        for row in self._rows:
            named = row.said.card_id
            known = first.setdefault(named or (row.claim.subject, row.said.created_at), row)
            if known is row:
                yield row
            elif row.claim != known.claim:
                card = f"the card {named[:40]!r}" if named else "the same texts"
                place = f"{found.unit} {known.line}"
                _refuse(found, row, f"says something else of {card} than {place}; keep one.")

    def _with_own_card(self, row: Judged, stored: Claim | None) -> Judged:
        """Return the row with a new card where the store has this one for something else.

        Cards are counted in some stores, so that those of two stores can be called the same.
        """
        if stored is None or stored.subject == row.claim.subject:
            return row
        return replace(row, card_id=f"{row.card_id}-{self._hash(row.said, row.targets)}")

    def _is_new(self, row: Judged, stored: Claim | None, found: Source) -> bool:
        if stored is None:
            return row.said.card_id is not None or not self._is_known(row)
        if row.claim != stored:
            _refuse(
                found,
                row,
                f"says something else of the card {row.card_id[:40]!r} than the store does; leave"
                " the row out, and correct the rating where it was given.",
            )
        return False

    def _stored(self, card_ids: Iterable[str]) -> dict[str, Claim]:
        """Return what the store has under these cards."""
        found: dict[str, Claim] = {}
        for some in chunks(sorted(set(card_ids))):
            for rating, name in self.session.execute(_ratings(Rating.card_id.in_(some))):
                found[rating.card_id] = _stored_claim(rating, name)
        return found

    def _is_known(self, row: Judged) -> bool:
        """Tell whether an import brought the same already, whatever its card is called."""
        wanted = [
            Rating.card_id.startswith(IMPORTED, autoescape=True),
            Rating.question_id == row.targets[0].question_id,
            Rater.name == row.said.rater,
        ]
        if row.said.created_at is not None:
            wanted.append(Rating.created_at == row.said.created_at)
        stored = self.session.execute(_ratings(*wanted))
        return any(_stored_claim(rating, name) == row.claim for rating, name in stored)

    def _hash(self, said: RatingFields, targets: Iterable[Target]) -> str:
        """Return what stands for a row in every store: its words, not its ids."""
        wordings = [
            self.session.scalar(select(table.content_hash).where(table.id == text_id)) or ""
            for target in targets
            for table, text_id in (
                (Question, target.question_id),
                (ReasoningVariant, target.variant_id),
                (Answer, target.answer_id),
            )
        ]
        own = (said.rater, said.scope, said.axis, said.value, said.outcome, said.label)
        return short_hash(*map(str, own), str(said.created_at or ""), *wordings)


def _refuse(found: Source, row: Judged, what: str) -> None:
    column = next(
        name for name in ("outcome", "label", "value") if getattr(row.said, name) is not None
    )
    found.refuse(row.line, column, what)


def _ratings(*wanted: Any) -> Select[Rating, str]:
    return select(Rating, Rater.name).join(Rater, Rater.id == Rating.rater_id).where(*wanted)


def _stored_claim(rating: Rating, rater: str) -> Claim:
    ids = [(rating.question_id, rating.variant_id or 0, rating.answer_id or 0)]
    if rating.other_question_id is not None:
        other = (
            rating.other_question_id,
            rating.other_variant_id or 0,
            rating.other_answer_id or 0,
        )
        ids.append(other)
    return _claim(rater, rating, ids)


def _claim(rater: str, said: RatingFields | Rating, ids: list[tuple[int, int, int]]) -> Claim:
    """Return the same claim whichever of two texts comes first."""
    outcome: str | None = said.outcome
    if outcome is not None and ids != sorted(ids):
        outcome = _FLIPPED.get(outcome, outcome)
    return Claim(
        subject=(rater, said.scope, said.axis, said.label, *sorted(ids)),
        verdict=(said.value, outcome),
    )


def _ids(target: Target) -> tuple[int, int, int]:
    return target.question_id, target.variant_id or 0, target.answer_id or 0
