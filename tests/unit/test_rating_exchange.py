"""Ratings out and in again: every kind of file, another store, and files that are wrong."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook
from sqlalchemy import func, select
from typer.testing import CliRunner

from db.database import Database, open_database
from db.errors import UsageError
from db.rating.queues import get_queue
from db.rating.ratings import ensure_rater
from db.store.migrate import upgrade
from db.tables import Rater, Rating, ReasoningVariant
from tests.app.seed import seed_store
from workbench.cli.main import app
from workbench.rating.axes import load_axes
from workbench.rating.cards import CardRating, current_card, submit, undo
from workbench.rating.export import COLUMNS, rating_rows
from workbench.rating.importing import RatingImport
from workbench.rating.importing import import_ratings as import_with
from workbench.rating.queues import QueueSpec, build_queue, save_queue


def import_ratings(database: Database, file: Path) -> RatingImport:
    """Import as in a home without axes of its own."""
    return import_with(database, file, load_axes(file.parent / "no home"))


def rate(database: Database, n: int, **given: Any) -> int:
    with database.write() as session:
        spec = QueueSpec.model_validate(
            {"name": "評価", "leave_out": (), "repeat_share": 0, **given}
        )
        queue = get_queue(session, save_queue(session, build_queue(session, spec)))
        rater = ensure_rater(session, "千佳")
    for number in range(n):
        card = current_card(database, queue, rater)
        assert card is not None
        if spec.way == "pair":
            submit(
                database, queue, rater, card.id, CardRating(outcome=("a", "b", "tie")[number % 3])
            )
        else:
            said = CardRating(values={"correct": 4.0, "ok": 1.0}, tags=("浅い",), note="=1+1")
            submit(database, queue, rater, card.id, said)
    return queue.id


@pytest.fixture
def rated(database: Database) -> Database:
    seed_store(database)
    rate(database, 6)
    rate(database, 4, scope="whole")
    rate(database, 3, scope="answer", way="single")
    return database


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Rating)) or 0


def q2q(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without what differs between stores: numbers of rows, names of queues."""
    return [
        {k: str(v) for k, v in row.items() if not k.endswith("_id") and k != "queue"}
        for row in rows
    ]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "xlsx", "parquet"])
def test_what_is_exported_says_the_same_in_another_store(
    rated: Database, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / f"ratings.{kind}"
    done = q2q("rate", "export", "--format", kind, "--to", file, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"] == 6 + 4 + 3 * 3
    other = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    upgrade(other)
    seed_store(other)
    first = import_ratings(other, file)
    assert (first.added, first.skipped, first.problems) == (19, 0, [])
    again = import_ratings(other, file)
    assert (again.added, again.skipped) == (0, 19)
    assert plain(list(rating_rows(other))) == plain(list(rating_rows(rated)))
    other.close()


def test_an_export_holds_texts_origins_and_how_it_was_shown(rated: Database) -> None:
    rows = list(rating_rows(rated))
    assert all(tuple(row) == tuple(COLUMNS) for row in rows)
    pair, whole, single = rows[0], rows[6], rows[-3]
    assert pair["reasoning"] != pair["other_reasoning"]
    assert pair["answer"] is None
    assert whole["answer"]
    assert whole["other_answer"]
    assert isinstance(pair["swapped"], bool)
    assert single["swapped"] is None
    assert json.loads(single["axis_definition"])["label"]["en"] == "Correct"
    assert pair["axis_definition"] is None
    assert {row["model"] for row in rows} == {"smollm2-135m-instruct"}
    assert all(row["blind"] and row["temperature"] and row["queue"] == "評価" for row in rows)
    assert [row["label"] for row in rows[-3:]] == [None, None, "浅い"]


def test_undone_ratings_stay_behind_and_a_queue_can_be_had_alone(
    rated: Database, tmp_path: Path
) -> None:
    queue_id = rate(rated, 2)
    with rated.write() as session:
        queue, rater = get_queue(session, queue_id), ensure_rater(session, "千佳")
    undo(rated, queue, rater)
    assert len(list(rating_rows(rated, queue_id))) == 1
    alone = q2q("rate", "export", "--queue", queue_id)
    assert len(alone.stdout.splitlines()) == 1
    assert isinstance(q2q("rate", "export", "--queue", 99).exception, UsageError)


def test_texts_stay_texts_in_spreadsheets(rated: Database, tmp_path: Path) -> None:
    q2q("rate", "export", "--format", "xlsx", "--to", tmp_path / "r.xlsx")
    sheet = load_workbook(tmp_path / "r.xlsx").active
    assert sheet is not None
    header = [cell.value for cell in sheet[1]]
    cell = sheet[sheet.max_row][header.index("note")]
    assert (cell.value, cell.data_type) == ("=1+1", "s")
    q2q("rate", "export", "--format", "parquet", "--to", tmp_path / "r.parquet")
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 19
    q2q("rate", "export", "--format", "csv", "--to", tmp_path / "ratings.csv")
    assert "0 added, 19 known already" in q2q("rate", "import", tmp_path / "ratings.csv").stdout
    with (tmp_path / "ratings.csv").open(encoding="utf-8", newline="") as lines:
        assert len(list(csv.DictReader(lines))) == 19


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def good(database: Database) -> dict[str, Any]:
    with database.read() as session:
        variant = session.scalars(select(ReasoningVariant).limit(1)).one()
    return {
        "rater": "Ben",
        "scope": "reasoning",
        "axis": "clear",
        "value": 3,
        "question_id": variant.question_id,
        "variant_id": f"v{variant.id}",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": "essay"}, "line 2, field 'scope': is 'essay'; write one of reasoning"),
        ({"value": "many"}, "line 2, field 'value': 'many' is no number"),
        ({"value": None}, "line 2: says nothing"),
        ({"variant_id": 999_999}, "line 2, field 'variant_id': is not in the store"),
        ({"question_id": 999_999}, "line 2, field 'question_id': there is no question q999999"),
        ({"rater": ""}, "line 2, field 'rater': A rater's name is one line"),
        ({"outcome": "c"}, "line 2, field 'outcome': is 'c'; write one of a, b, tie, both_bad"),
        (
            {"axis": None, "value": None, "outcome": "a"},
            "line 2, field 'other_reasoning': is empty",
        ),
        ({"created_at": "yesterday"}, "line 2, field 'created_at': 'yesterday' is no time"),
        ({"blind": "perhaps"}, "line 2, field 'blind': is 'perhaps'; write true or false"),
        ({"reasoning": "never written"}, "line 2, field 'reasoning': is not in the store"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_stored(
    rated: Database, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    before = count(rated)
    row = good(rated)
    done = q2q("rate", "import", write(tmp_path / "r.jsonl", row, row | change))
    assert isinstance(done.exception, Exception)
    assert said in done.output
    assert count(rated) == before
    with rated.read() as session:
        assert session.scalar(select(Rater).where(Rater.name == "Ben")) is None


def test_ratings_made_elsewhere_need_no_card_and_count_once(
    rated: Database, tmp_path: Path
) -> None:
    row = good(rated)
    file = write(tmp_path / "r.jsonl", row, row, row | {"axis": "novel", "value": 4})
    first = import_ratings(rated, file)
    assert (first.added, first.skipped) == (2, 1)
    stored = list(rating_rows(rated))[-1]
    assert (stored["blind"], stored["sampler"], stored["value"]) == (False, "import r.jsonl", 4.0)


def test_queues_are_made_and_listed_on_the_command_line(rated: Database) -> None:
    made = q2q("rate", "queue", "--name", "pilot", "--minutes", 20, "--json")
    assert made.exit_code == 0, made.output
    result = json.loads(made.stdout)
    assert 1 <= result["cards"] <= 24
    listed = json.loads(q2q("rate", "queue", "--json").stdout)
    assert listed[0]["name"] == "pilot"
    assert listed[0]["n_items"] == result["cards"]
    wrong = q2q("rate", "queue", "--name", "x", "--way", "sideways")
    assert wrong.exit_code != 0
