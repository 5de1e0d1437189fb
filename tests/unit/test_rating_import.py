"""Ratings from files: what is checked of a row, who rates, and what stands in old stores."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from db.database import Database, open_database
from db.errors import UsageError
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater
from db.rating.summaries import rating_summaries
from db.store.migrate import upgrade
from db.tables import ModelVersion, Rater, Rating, ReasoningVariant
from tests.unit.dataset_lab import Lab
from tests.unit.rating_lab import QUESTIONS, REASONINGS, bring, comparison, fill, row, write
from workbench.cli.main import app
from workbench.rating.axes import load_axes
from workbench.rating.export import rating_rows
from workbench.rating.importing import import_ratings


@pytest.fixture
def store(database: Database) -> Database:
    with database.write() as session:
        fill(session)
    return database


@pytest.fixture
def other(database: Database, tmp_path: Path) -> Any:
    made = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    upgrade(made)
    with made.write() as session:
        fill(session, shift=3)
    yield made
    made.close()


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Rating)) or 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (row(value=99), "field 'value': is 99; write a whole number 1 to 5."),
        (row(value=-3), "field 'value': is -3; write a whole number 1 to 5."),
        (row(value=0), "field 'value': is 0; write a whole number 1 to 5."),
        (row(value=3.5), "field 'value': is 3.5; write a whole number 1 to 5."),
        (row(axis="ok", value=2), "field 'value': is 2; write 1 (OK) or 0 (not OK)."),
        (row(axis="depth"), "field 'axis': there is no axis 'depth' of scope reasoning"),
        (row(axis="correct"), "'correct' is rated of scope answer and whole, not of reasoning."),
        (row(axis="preference", value=None, label="x"), "field 'outcome': is empty"),
        (row(label="shallow"), "field 'label': does not go with the axis 'clear'"),
        (row(axis="tag"), "field 'label': is empty; the axis 'tag' needs it."),
        (row(other_reasoning=REASONINGS[1]), "names a second text, and the row is no comparison"),
        (comparison(axis="clear"), "field 'value': is empty; the axis 'clear' needs it."),
        (comparison(value=4), "field 'value': does not go with the axis 'preference'"),
        (comparison(other_reasoning=REASONINGS[0]), "compares a text with itself"),
        (comparison(other_reasoning="You should not."), "field 'other_reasoning': is not in the"),
        (comparison(scope="question"), "field 'axis': compares questions"),
        (row(seconds=-5), "field 'seconds': is -5; write 0 to 86,400"),
        (row(seconds="inf"), "field 'seconds': 'inf' is no number"),
        (row(seconds=math.nan), "field 'seconds': is NaN; leave it empty"),
        (row(value=math.nan), "field 'value': is NaN; leave it empty"),
        (row(value=True), "field 'value': 'True' is no number"),
        (row(value=[3]), "field 'value': holds several values"),
        (row(question=None, question_id=1.7), "field 'question_id': '1.7' is no id"),
        (row(question=None, question_id=1e300), "field 'question_id': '1e+300' is no id"),
        (row(question=None, question_id=10**30), "field 'question_id': '1000000000"),
        (row(question=None, question_id="v1"), "field 'question_id': 'v1' is no id"),
        (row(variant_id=True, reasoning=None), "field 'variant_id': 'True' is no id"),
        (row(created_at="0001-01-01T00:00:00+09:00"), "lies outside 1970 to today"),
        (row(created_at="9999-12-31T23:59:59-09:00"), "lies outside 1970 to today"),
        (row(created_at="2999-01-01"), "lies outside 1970 to today"),
        (row(note="\ud83d"), "field 'note': holds half a character"),
        (row(rater="\udc00"), "field 'rater': holds half a character"),
        (row(question="\ud800?"), "field 'question': holds half a character"),
        (row(rater_kind="robot"), "field 'rater_kind': is 'robot'; write one of person, model"),
        (row(rater="Aki", rater_kind="model"), "makes 'Aki' a model, who is a person in the store"),
    ],
)
def test_a_row_that_does_not_fit_the_axes_is_refused_by_line(
    store: Database, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with store.write() as session:
        ensure_rater(session, "Aki")
    done = bring(store, write(tmp_path / "r.jsonl", row(), wrong))
    assert (done.added, done.errors, count(store)) == (0, 1, 0)
    assert done.problems[0].startswith("r.jsonl, line 2")
    assert said in done.problems[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (comparison(card_id="c"), comparison(card_id="c", outcome="b")),
        (comparison(), comparison(outcome="b")),
        (
            comparison(),
            comparison(reasoning=REASONINGS[1], other_reasoning=REASONINGS[0]),
        ),
        (row(card_id="c"), row(card_id="c", value=4)),
        (row(axis="ok", value=1), row(axis="ok", value=0)),
    ],
)
def test_one_card_says_one_thing_in_a_file(
    store: Database, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    done = bring(store, write(tmp_path / "r.jsonl", first, second))
    assert (done.added, done.errors, count(store)) == (0, 1, 0)
    assert "line 2" in done.problems[0]
    assert "than line 1; keep one" in done.problems[0]


def test_a_row_changed_after_its_export_is_not_passed_over_in_silence(
    store: Database, tmp_path: Path
) -> None:
    assert bring(store, write(tmp_path / "a.jsonl", row(card_id="c"))).added == 1
    done = bring(store, write(tmp_path / "b.jsonl", row(card_id="c", value=5)))
    assert (done.added, done.errors) == (0, 1)
    assert "says something else of the card 'c' than the store does" in done.problems[0]


def test_cards_of_two_stores_may_be_called_the_same(store: Database, tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", comparison(card_id="judge-3"))
    second = write(tmp_path / "b.jsonl", comparison(card_id="judge-3", question=QUESTIONS[1]))
    assert [bring(store, one).added for one in (first, second, first, second)] == [1, 1, 0, 0]


def test_what_a_row_names_and_nobody_uses_is_told(store: Database, tmp_path: Path) -> None:
    done = bring(store, write(tmp_path / "r.jsonl", row(secs=4)))
    assert done.notes == ["Columns not used: secs."]


def test_axes_of_a_home_are_known_and_said_to_be_the_way_out(
    store: Database, home: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "r.jsonl", row(axis="depth"))
    done = CliRunner().invoke(app, ["rate", "import", str(file)])
    assert "add it to axes.yaml in Q2Q_HOME" in done.output
    (home / "axes.yaml").write_text("reasoning: [{name: depth, label: {en: Depth}}]\n", "utf-8")
    done = CliRunner().invoke(app, ["rate", "import", str(file)])
    assert "1 added" in done.output


@pytest.mark.parametrize("name", ["Rater Kind", "rater-kind", "raterKind"])
def test_a_model_stays_a_model_however_the_column_is_written(
    store: Database, tmp_path: Path, name: str
) -> None:
    assert bring(store, write(tmp_path / "r.jsonl", row(**{name: "model"}))).added == 1
    with store.read() as session:
        assert session.scalar(select(Rater.kind).where(Rater.name == "Ben")) == "model"


def test_a_field_that_a_row_has_in_two_spellings_is_refused(
    store: Database, tmp_path: Path
) -> None:
    done = bring(store, write(tmp_path / "r.jsonl", row(Value=5)))
    assert (done.added, count(store)) == (0, 0)
    assert "stands in this row twice" in done.problems[0]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "xlsx", "parquet"])
def test_a_model_stays_a_model_in_every_format_and_store(
    store: Database, other: Database, tmp_path: Path, kind: str
) -> None:
    with store.write() as session:
        session.add(ModelVersion(id=7, name="judge-large", kind="declared"))
        session.flush()
        session.add(Rater(id=9, name="Judge 1", kind="model", model_version_id=7))
        session.flush()
        variant = session.scalars(select(ReasoningVariant)).first()
        assert variant is not None
        target = Target(question_id=variant.question_id, variant_id=variant.id)
        said = {"scope": "reasoning", "target": target, "axis": "ok", "value": 1.0, "blind": False}
        add_ratings(session, [NewRating(rater_id=9, card_id="m", **said)])  # type: ignore[arg-type]
        aki = ensure_rater(session, "Aki")
        add_ratings(session, [NewRating(rater_id=aki, card_id="p", **said)])  # type: ignore[arg-type]
    file = tmp_path / f"ratings.{kind}"
    done = CliRunner().invoke(app, ["rate", "export", "--format", kind, "--to", str(file)])
    assert done.exit_code == 0, done.output
    assert [bring(one, file).added for one in (store, other, other)] == [0, 2, 0]
    with other.read() as session:
        raters = session.execute(
            select(Rater.name, Rater.kind, ModelVersion.name)
            .outerjoin(ModelVersion, ModelVersion.id == Rater.model_version_id)
            .where(Rater.name.in_(("Aki", "Judge 1")))
            .order_by(Rater.name)
        ).all()
    assert [tuple(one) for one in raters] == [
        ("Aki", "person", None),
        ("Judge 1", "model", "judge-large"),
    ]


def test_times_are_told_with_their_zone(store: Database, tmp_path: Path) -> None:
    bring(store, write(tmp_path / "r.jsonl", row(created_at="2025-03-01T09:30:00+09:00")))
    (told,) = rating_rows(store)
    assert told["created_at"] == "2025-03-01T00:30:00+00:00"


def test_values_off_their_scale_count_nowhere_and_are_told(store: Database, home: Path) -> None:
    with store.write() as session:
        lab = Lab(session)
        first, second = session.scalars(select(ReasoningVariant.id).limit(2)).all()
        lab.rate(first, 3)
        mended = lab.rate(second, 5)
        assert len(lab.build(take={"rated": {"at_least": 5}, "needs": "reasoning"}).rows) == 1
        session.execute(update(Rating).where(Rating.id == mended).values(value=99))
        built = lab.build(take={"rated": {"at_least": 5}, "needs": "reasoning"})
        assert (built.rows, built.counts.off_scale) == ((), 1)
        scores = rating_summaries(session, "variant", [first, second])
    assert {one: found.mean for one, found in scores.items()} == {first: 3.0}
    told = CliRunner().invoke(app, ["doctor"]).output
    assert "1 ratings in" in told
    assert "off their scale" in told
    rules = home / "rules.yaml"
    rules.write_text("name: x\ntake: {rated: {at_least: 1}}\n", "utf-8")
    shown = CliRunner().invoke(app, ["dataset", "build", str(rules), "--preview"])
    assert "1 ratings were not counted: their values are off their scale." in shown.output


def test_no_door_of_the_store_takes_a_value_off_its_scale(store: Database) -> None:
    with store.write() as session, pytest.raises(UsageError, match="value is 6; write a whole"):
        Lab(session).rate(1, 6)


WORDED = "reasoning: [{name: depth, label: {en: Depth}, low: {en: %s}}]\n"


def test_a_rating_keeps_how_its_axis_was_worded_when_it_was_given(
    store: Database, other: Database, home: Path, tmp_path: Path
) -> None:
    axes = home / "axes.yaml"
    for low, card in (("shallow", "1"), ("flat", "2"), ("shallow", "3")):
        axes.write_text(WORDED % low, "utf-8")
        file = write(tmp_path / f"{card}.jsonl", row(axis="depth", rater=f"Rater {card}"))
        assert import_ratings(store, file, load_axes(home)).added == 1
    axes.unlink()  # what was rated stays readable, and the store goes on to know the axis
    told = [json.loads(one["axis_definition"])["low"] for one in rating_rows(store)]
    assert told == [{"en": "shallow"}, {"en": "flat"}, {"en": "shallow"}]
    file = write(tmp_path / "4.jsonl", row(axis="depth", card_id="4"))
    assert bring(store, file).added == 1
    exported = write(tmp_path / "all.jsonl", *rating_rows(store))
    axes.write_text(WORDED % "other", "utf-8")
    assert import_ratings(other, exported, load_axes(home)).added == 4
    told = [json.loads(one["axis_definition"])["low"] for one in list(rating_rows(other))[:3]]
    assert told == [{"en": "shallow"}, {"en": "flat"}, {"en": "shallow"}]
