"""Ratings into the store: every row is checked, and then all are stored, or none.

In another store the words of a row count; where a row has ids only, they are those of this store.
The file is read and understood before anything is written, so that raters wait for no file.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.database import Database
from db.identity import short_hash
from db.rating.ratings import (
    NewRating,
    Scope,
    Target,
    add_ratings,
    ensure_axis,
    ensure_model_rater,
    ensure_rater,
)
from db.tables import Answer, Question, Rater, Rating, ReasoningVariant
from serving.importers.fields import letters
from serving.importers.readers import read_records
from serving.importers.source import ImportFile
from workbench.rating.axes import Axes, known_axes, store_axes
from workbench.rating.export import COLUMNS
from workbench.rating.import_rows import (
    RaterKind,
    RatingFields,
    RowRefusedError,
    Targets,
    understand,
)

IMPORTED = "import-"
"""How the cards begin that stand for rows without one."""
_FLIPPED = {"a": "b", "b": "a"}
_REMEDY = "people and models are never mixed: correct rater_kind, or give another name."
_BY_LETTERS = {letters(name): name for name in COLUMNS}
_STORED_AS_GIVEN = (
    {one.name for one in fields(NewRating)} & {one.name for one in fields(RatingFields)}
) - {"swapped", "card_id"}


@dataclass(frozen=True, slots=True)
class Claim:
    """Who judges what (``subject``), and what is said of it (``verdict``)."""

    subject: tuple[Any, ...]
    verdict: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRating:
    """A row with the texts that it speaks of, and the card that it is stored under."""

    line: int
    given: RatingFields
    targets: tuple[Target, ...]
    card_id: str
    claim: Claim


@dataclass(slots=True)
class RatingImport:
    """What an import did."""

    added: int = 0
    skipped: int = 0
    """Rows that the store had already, or that stand in the file twice."""
    errors: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_ratings(
    database: Database, path: Path, axes: Axes, *, encoding: str | None = None
) -> RatingImport:
    """Store the ratings of a file: all of them, or none where a row is wrong.

    The same file again adds nothing.

    Args:
        database: The store.
        path: CSV, TSV, JSON, JSONL, XLSX or Parquet.
        axes: Those that raters use now; ratings may also be on axes that the store knows.
        encoding: What a text that is not UTF-8 is read as.

    Raises:
        UsageError: The file cannot be read.
    """
    found = read_records(path, encoding=encoding)
    with database.read() as session:
        known = known_axes(session, axes)
        judged, n_rows = _judged(session, found, known)
    done = RatingImport(
        errors=len(found.problems),
        problems=[problem.sentence for problem in found.problems],
        notes=[*found.notes, *_unused(found.columns)],
    )
    if not done.errors:
        with database.write() as session:
            done.added = _store(session, judged, axes)
        done.skipped = n_rows - done.added
    return done


def _judged(
    session: Session, found: ImportFile, axes: Mapping[Scope, Collection[str]]
) -> tuple[list[ImportedRating], int]:
    """Return what is new to the store, and how many rows there are; what is wrong is a problem."""
    targets, raters, cards = Targets(session), Raters(session), Cards(session)
    n_rows = 0
    for record in found.records:
        n_rows += 1
        try:
            row = _row(record.values)
            given = understand(row, axes, found.name)
            rated = targets.of(row, given.scope, compares=given.outcome is not None)
            raters.check(given, record.line, has_kind=bool(row.get("rater_kind")))
            cards.add(record.line, given, *rated)
        except RowRefusedError as refused:
            found.refuse(record.line, refused.column, refused.what)
    return cards.new(found), n_rows


def _store(session: Session, judged: Sequence[ImportedRating], axes: Axes) -> int:
    raters: dict[str, int] = {}
    wordings = _Wordings(session, axes)
    ratings = []
    for one in judged:
        if one.given.rater not in raters:
            raters[one.given.rater] = _rater(session, one.given)
        ratings.append(
            _rating(raters[one.given.rater], wordings.id_of(one.given), one, *one.targets)
        )
    return len(add_ratings(session, ratings))


class _Wordings:
    """The ids of how axes are worded: as a row tells it, else as raters read it now."""

    def __init__(self, session: Session, axes: Axes) -> None:
        self.session, self.axes = session, axes
        self._current: dict[Scope, dict[str, int]] = {}
        self._by_wording: dict[tuple[Scope, str], int] = {}

    def id_of(self, given: RatingFields) -> int | None:
        """Return the id of the wording that a row was given under; None: it is on no scale."""
        if given.wording is not None:
            key = (given.scope, given.wording.model_dump_json())
            if key not in self._by_wording:
                self._by_wording[key] = ensure_axis(
                    self.session, given.scope, given.axis, given.wording.wording
                )
            return self._by_wording[key]
        if given.card_id is not None:
            return None  # an export that does not tell it: nobody knows how it was worded
        if given.scope not in self._current:
            self._current[given.scope] = store_axes(self.session, given.scope, self.axes)
        return self._current[given.scope].get(given.axis)


def _rater(session: Session, given: RatingFields) -> int:
    if given.rater_kind == "model":
        return ensure_model_rater(session, given.rater, given.rater_model)
    return ensure_rater(session, given.rater)


def _rating(
    rater_id: int,
    axis_id: int | None,
    judged: ImportedRating,
    target: Target,
    other: Target | None = None,
) -> NewRating:
    same = {name: getattr(judged.given, name) for name in _STORED_AS_GIVEN}
    return NewRating(
        **same,
        rater_id=rater_id,
        target=target,
        other=other,
        axis_id=axis_id,
        swapped=judged.given.swapped if other else None,
        card_id=judged.card_id,
    )


def _row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row by the names of ``COLUMNS``, in whichever spelling it has them."""
    row: dict[str, Any] = {}
    for column, value in values.items():
        name = _BY_LETTERS.get(letters(column), column.strip().casefold())
        if row.get(name) is not None and value is not None:
            raise RowRefusedError(column, "stands in this row twice; leave one.")
        row[name] = value if value is not None else row.get(name)
    return row


def _unused(columns: Sequence[str]) -> list[str]:
    unknown = [name for name in columns if letters(name) not in _BY_LETTERS]
    return [f"Columns not used: {', '.join(unknown)}."] if unknown else []


class Raters:
    """Remembers what each rater of a file is, and what the store knows."""

    def __init__(self, session: Session) -> None:
        self._known = dict(session.execute(select(Rater.name, Rater.kind)).all())
        self._lines: dict[str, tuple[RaterKind, int]] = {}

    def check(self, given: RatingFields, line: int, *, has_kind: bool) -> None:
        """Refuse a rater who is of another kind elsewhere.

        Raises:
            RowRefusedError: In the store, or in an earlier line, the name is of another kind.
        """
        name, kind = given.rater, given.rater_kind
        column = "rater_kind" if has_kind else "rater"
        known = self._known.get(name, kind)
        if known != kind:
            raise RowRefusedError(
                column, f"makes {name!r} a {kind}, who is a {known} in the store; {_REMEDY}"
            )
        first, at = self._lines.setdefault(name, (kind, line))
        if first != kind:
            raise RowRefusedError(
                column, f"makes {name!r} a {kind}, who is a {first} in line {at}; {_REMEDY}"
            )


class Cards:
    """Gathers the rows of a file by card, and leaves out what the store has."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._rows: list[ImportedRating] = []

    def add(self, line: int, given: RatingFields, *targets: Target) -> None:
        """Take a row in."""
        card = given.card_id or f"{IMPORTED}{self._hash(given, targets)}"
        claim = _claim(given.rater, given, [_ids(target) for target in targets])
        self._rows.append(
            ImportedRating(line=line, given=given, targets=targets, card_id=card, claim=claim)
        )

    def new(self, found: ImportFile) -> list[ImportedRating]:
        """Return one row for each card that is new; what contradicts becomes a problem."""
        rows = list(self._each_once(found))
        stored = self._stored(row.card_id for row in rows)
        rows = [self._with_own_card(row, stored.get(row.card_id)) for row in rows]
        stored |= self._stored(row.card_id for row in rows)
        return [row for row in rows if self._is_new(row, stored.get(row.card_id), found)]

    def _each_once(self, found: ImportFile) -> Iterator[ImportedRating]:
        """Yield the first row of each card; without cards, of each subject at one time."""
        first: dict[object, ImportedRating] = {}
        for row in self._rows:
            named = row.given.card_id
            known = first.setdefault(named or (row.claim.subject, row.given.created_at), row)
            if known is row:
                yield row
            elif row.claim != known.claim:
                card = f"the card {named[:40]!r}" if named else "the same texts"
                place = f"{found.unit} {known.line}"
                _refuse(found, row, f"says something else of {card} than {place}; keep one.")

    def _with_own_card(self, row: ImportedRating, stored: Claim | None) -> ImportedRating:
        """Return the row with a new card where the store has this one for something else.

        Cards are counted in some stores, so that those of two stores can be called the same.
        """
        if stored is None or stored.subject == row.claim.subject:
            return row
        return replace(row, card_id=f"{row.card_id}-{self._hash(row.given, row.targets)}")

    def _is_new(self, row: ImportedRating, stored: Claim | None, found: ImportFile) -> bool:
        if stored is None:
            return row.given.card_id is not None or not self._is_known(row)
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

    def _is_known(self, row: ImportedRating) -> bool:
        """Tell whether an import brought the same already, whatever its card is called."""
        wanted = [
            Rating.card_id.startswith(IMPORTED, autoescape=True),
            Rating.question_id == row.targets[0].question_id,
            Rater.name == row.given.rater,
        ]
        if row.given.created_at is not None:
            wanted.append(Rating.created_at == row.given.created_at)
        stored = self.session.execute(_ratings(*wanted))
        return any(_stored_claim(rating, name) == row.claim for rating, name in stored)

    def _hash(self, given: RatingFields, targets: Iterable[Target]) -> str:
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
        own = (given.rater, given.scope, given.axis, given.value, given.outcome, given.label)
        return short_hash(*map(str, own), str(given.created_at or ""), *wordings)


def _refuse(found: ImportFile, row: ImportedRating, what: str) -> None:
    column = next(
        name for name in ("outcome", "label", "value") if getattr(row.given, name) is not None
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


def _claim(rater: str, given: RatingFields | Rating, ids: list[tuple[int, int, int]]) -> Claim:
    """Return the same claim whichever of two texts comes first."""
    outcome: str | None = given.outcome
    if outcome is not None and ids != sorted(ids):
        outcome = _FLIPPED.get(outcome, outcome)
    return Claim(
        subject=(rater, given.scope, given.axis, given.label, *sorted(ids)),
        verdict=(given.value, outcome),
    )


def _ids(target: Target) -> tuple[int, int, int]:
    return target.question_id, target.variant_id or 0, target.answer_id or 0
