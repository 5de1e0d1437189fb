"""Ratings into the store: every row is checked, and then all are stored, or none.

In another store the words of a row count; where a row has ids only, they are those of this store.
The file is read and understood before anything is written, so that raters wait for no file.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from db.rating.ratings import (
    NewRating,
    Scope,
    Target,
    add_ratings,
    ensure_axis,
    ensure_model_rater,
    ensure_rater,
)
from serving.importers.fields import letters
from serving.importers.readers import read_records
from serving.importers.source import Source
from workbench.rating.axes import Axes, known_axes, store_axes
from workbench.rating.exchange import COLUMNS
from workbench.rating.rating_cards import Cards, Judged
from workbench.rating.rating_fields import RatingFields, RowRefusedError, understand
from workbench.rating.rating_raters import Raters
from workbench.rating.rating_targets import Targets

_BY_LETTERS = {letters(name): name for name in COLUMNS}


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
    session: Session, found: Source, axes: Mapping[Scope, Collection[str]]
) -> tuple[list[Judged], int]:
    """Return what is new to the store, and how many rows there are; what is wrong is a problem."""
    targets, raters, cards = Targets(session), Raters(session), Cards(session)
    n_rows = 0
    for record in found.records:
        n_rows += 1
        try:
            row = _row(record.values)
            said = understand(row, axes, found.name)
            rated = targets.of(row, said.scope, compares=said.outcome is not None)
            raters.check(said, record.line, is_told=bool(row.get("rater_kind")))
            cards.add(record.line, said, *rated)
        except RowRefusedError as refused:
            found.refuse(record.line, refused.column, refused.what)
    return cards.new(found), n_rows


def _store(session: Session, judged: Sequence[Judged], axes: Axes) -> int:
    raters: dict[str, int] = {}
    wordings = _Wordings(session, axes)
    ratings = []
    for one in judged:
        if one.said.rater not in raters:
            raters[one.said.rater] = _rater(session, one.said)
        ratings.append(_rating(raters[one.said.rater], wordings.id_of(one.said), one, *one.targets))
    return len(add_ratings(session, ratings))


class _Wordings:
    """The ids of how axes are worded: as a row tells it, else as raters read it now."""

    def __init__(self, session: Session, axes: Axes) -> None:
        self.session, self.axes = session, axes
        self._current: dict[Scope, dict[str, int]] = {}
        self._told: dict[tuple[Scope, str], int] = {}

    def id_of(self, said: RatingFields) -> int | None:
        """Return the id of the wording that a row was given under; None: it is on no scale."""
        if said.wording is not None:
            key = (said.scope, said.wording.model_dump_json())
            if key not in self._told:
                self._told[key] = ensure_axis(
                    self.session, said.scope, said.axis, said.wording.wording
                )
            return self._told[key]
        if said.card_id is not None:
            return None  # an export that does not tell it: nobody knows how it was worded
        if said.scope not in self._current:
            self._current[said.scope] = store_axes(self.session, said.scope, self.axes)
        return self._current[said.scope].get(said.axis)


def _rater(session: Session, said: RatingFields) -> int:
    if said.rater_kind == "model":
        return ensure_model_rater(session, said.rater, said.rater_model)
    return ensure_rater(session, said.rater)


def _rating(
    rater_id: int, axis_id: int | None, judged: Judged, target: Target, other: Target | None = None
) -> NewRating:
    said = judged.said
    return NewRating(
        rater_id=rater_id,
        scope=said.scope,
        target=target,
        other=other,
        axis=said.axis,
        axis_id=axis_id,
        value=said.value,
        outcome=said.outcome,
        label=said.label,
        blind=said.blind,
        swapped=said.swapped if other else None,
        answer_seen=said.answer_seen,
        sampler=said.sampler,
        seconds=said.seconds,
        card_id=judged.card_id,
        note=said.note,
        created_at=said.created_at,
    )


def _row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row by the names of ``COLUMNS``, in whichever spelling it has them."""
    row: dict[str, Any] = {}
    for given, value in values.items():
        name = _BY_LETTERS.get(letters(given), given.strip().casefold())
        if row.get(name) is not None and value is not None:
            raise RowRefusedError(given, "stands in this row twice; leave one.")
        row[name] = value if value is not None else row.get(name)
    return row


def _unused(columns: Sequence[str]) -> list[str]:
    unknown = [name for name in columns if letters(name) not in _BY_LETTERS]
    return [f"Columns not used: {', '.join(unknown)}."] if unknown else []
