"""Ratings to a file and into another store: nothing is lost on the way, and nothing invented."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from db.database import Database, open_database
from db.rating.ratings import (
    FLAG,
    OK,
    PREFERENCE,
    TAG,
    NewRating,
    Scope,
    Target,
    add_ratings,
    ensure_model_rater,
    ensure_rater,
    undo_ratings,
)
from db.store.migrate import upgrade
from db.tables import Answer, Rater, Rating, RatingAxis
from tests.unit.rating_lab import bring, fill
from workbench.cli.exporting import write_rows
from workbench.rating.axes import Axes, load_axes, store_axes
from workbench.rating.export import COLUMNS, rating_rows

AXES: Axes = load_axes(Path("/no home"))
NUMBERS = count()
SIGNS = st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co"))
WORDS = st.text(SIGNS, min_size=1, max_size=12).filter(str.strip)
START = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.timedeltas(timedelta(0), timedelta(days=20_000)).map(lambda after: START + after)


@st.composite
def judgements(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a rating says and how it was given; ``places`` are answers of the store."""
    scope: Scope = draw(st.sampled_from(("reasoning", "answer", "whole")))
    names = [axis.name for axis in AXES[scope]]
    axis = draw(st.sampled_from((PREFERENCE, OK, TAG, FLAG, *names)))
    said: dict[str, Any] = {}
    if axis == PREFERENCE:
        said = {
            "outcome": draw(st.sampled_from(("a", "b", "tie", "both_bad"))),
            "swapped": draw(st.none() | st.booleans()),
        }
    elif axis in (TAG, FLAG):
        said["label"] = draw(WORDS)
    else:
        low, high = (0, 1) if axis == OK else (1, 5)
        said["value"] = float(draw(st.integers(low, high)))
    rater = draw(st.sampled_from(("Aki", "千佳", "judge-large")))
    return {
        "rater": rater,
        "scope": scope,
        "axis": axis,
        "is_worded": draw(st.booleans()),
        "is_undone": draw(st.integers(0, 4)) == 0,
        "places": draw(st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True)),
        "question": draw(st.integers(0, 1)),
        "given": {
            **said,
            "blind": draw(st.booleans()),
            "answer_seen": draw(st.booleans()),
            "sampler": draw(st.none() | st.sampled_from(("random", "repeat", "import a.csv"))),
            "seconds": draw(st.none() | st.integers(0, 600_000).map(lambda ms: ms / 1000)),
            "is_adjudication": draw(st.booleans()) and rater != "judge-large",
            "note": draw(st.none() | WORDS),
            "created_at": draw(TIMES),
        },
    }


def rate(database: Database, said: dict[str, Any]) -> None:
    """Store one drawn judgement."""
    with database.write() as session:
        answers = session.scalars(select(Answer).order_by(Answer.id)).all()
        own = answers[said["question"] * 4 : said["question"] * 4 + 4]
        scope = said["scope"]
        # Reasonings stand above two answers each: the first and the last have different ones.
        places = (0, 3) if scope == "reasoning" else said["places"]
        targets = [
            Target(
                question_id=own[place].question_id,
                variant_id=own[place].variant_id,
                answer_id=None if scope == "reasoning" else own[place].id,
            )
            for place in places
        ]
        is_model = said["rater"] == "judge-large"
        rater = (ensure_model_rater if is_model else ensure_rater)(session, said["rater"])
        axes = store_axes(session, scope, AXES) if said["is_worded"] else {}
        made = add_ratings(
            session,
            [
                NewRating(
                    rater_id=rater,
                    scope=scope,
                    target=targets[0],
                    other=targets[1] if said["axis"] == PREFERENCE else None,
                    axis=said["axis"],
                    axis_id=axes.get(said["axis"]),
                    card_id=f"card{next(NUMBERS)}",
                    **said["given"],
                )
            ],
        )
        if said["is_undone"]:
            undo_ratings(session, made)


def told(database: Database) -> list[dict[str, Any]]:
    """Return the ratings as they are exported, without the numbers of rows of this store."""
    return [
        {name: value for name, value in row.items() if name == "card_id" or name[-3:] != "_id"}
        for row in rating_rows(database)
    ]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    upgrade(made)
    with made.write() as session:
        fill(session, shift=3)
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["jsonl", "csv", "xlsx", "parquet"])
def test_ratings_come_through_every_kind_of_file_as_they_are(
    database: Database, other: Database, tmp_path: Path, kind: str
) -> None:
    with database.write() as session:
        fill(session)

    @settings(
        max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.lists(judgements(), min_size=1, max_size=6))
    def come_through(drawn: list[dict[str, Any]]) -> None:
        for store in (database, other):
            with store.write() as session:
                for table in (Rating, RatingAxis, Rater):
                    session.execute(delete(table))
        for said in drawn:
            rate(database, said)
        expected = told(database)
        file = tmp_path / f"{next(NUMBERS)}.{kind}"
        write_rows(rating_rows(database), COLUMNS, kind, file)
        if not expected:
            return
        first, again, own = (bring(store, file) for store in (other, other, database))
        assert (first.problems, first.notes) == ([], [])
        assert (first.added, again.added, own.added) == (len(expected), 0, 0)
        assert told(other) == expected
        assert told(database) == expected

    come_through()
