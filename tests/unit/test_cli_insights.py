"""``q2q rate insights``: the numbers of the page, for people and for machines."""

import json
import math

import pytest
from typer.testing import CliRunner

from db.database import Database
from db.errors import UsageError
from tests.app.seed import seed_store
from tests.app.seed_ratings import Rated, seed_ratings
from workbench.cli.main import app


@pytest.fixture
def rated(database: Database) -> Rated:
    return seed_ratings(database, seed_store(database))


def shown(*words: str) -> str:
    result = CliRunner().invoke(app, ["rate", "insights", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_people_read_tables(rated: Rated) -> None:
    told = shown()
    assert "58 comparisons, 45 of them in rankings" in told
    ranking = told[told.index("Preferred temperature") :]
    assert ranking.index("temperature 0.2") < ranking.index("temperature 0.8")
    assert "Win chances by temperature" in told
    assert "For these 2 raters" in told
    assert "Aki" in ranking.split("\n")[1]
    for title in ("Main effects on preference", "Agreement", "The left text won", "Seconds a card"):
        assert title in told
    assert "nan" not in told


def test_machines_read_one_value_without_nan(rated: Rated) -> None:
    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    found = json.loads(shown("--json", "--queue", str(rated.queue_id)), parse_constant=refuse)
    assert found["counts"]["ranked"] == 45
    best = found["rankings"][0]["places"][0]
    assert best["share"]["low"] < best["share"]["value"] < best["share"]["high"]
    (chance,) = found["rankings"][0]["win_chances"]
    assert (chance["better"], chance["other"]) == ("temperature 0.2", "temperature 0.8")
    assert chance["share"]["low"] < best["share"]["value"] < chance["share"]["value"]
    assert found["rankings"][0]["n_raters"] == len(found["rankings"][0]["by_rater"]) == 2
    assert best["strength"] == pytest.approx(
        math.log(best["share"]["value"] / (1 - best["share"]["value"]))
    )


def test_figures_can_be_told_at_equal_length(rated: Rated) -> None:
    told = shown("--length", "equal")
    assert "At equal length; a text twice as long takes" in told
    found = json.loads(shown("--length", "equal", "--json"))
    assert found["rankings"][0]["twice_as_long"]["low"] is not None
    assert json.loads(shown("--json"))["rankings"][0]["twice_as_long"] is None


def test_nothing_rated_says_what_to_do(database: Database) -> None:
    assert "q2q rate queue" in shown()
    assert json.loads(shown("--json"))["counts"]["judgements"] == 0


def test_models_are_asked_for_by_name(rated: Rated) -> None:
    assert "No ratings here yet" in shown("--raters", "models")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scope", "question"), "--scope is one of"),
        (("--raters", "all"), "--raters one of"),
        (("--length", "short"), "--length is one of"),
        (("--queue", "99"), "no queue 99"),
        (("--sweep", "99"), "no sweep 99"),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(
    rated: Rated, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        shown(*words)
