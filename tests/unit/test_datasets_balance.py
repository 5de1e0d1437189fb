"""What is said of rows before they are trained, and how OK and not OK are weighed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from db.database import Database
from db.datasets import find_dataset
from db.errors import UsageError
from tests.unit.dataset_lab import Lab
from training.datasets.balance import (
    MAX_RATIO,
    MIN_RATIO,
    Balance,
    balance_of,
    cautions,
    class_weights,
    read_balance,
)
from training.datasets.freeze import freeze
from training.methods import RowKind
from training.runs.spec import parse_spec, resolve
from workbench.cli.main import app
from workbench.i18n import caution_sentences


def balance(rows: RowKind = "labelled", **given: int) -> Balance:
    even = {"n_rows": 200, "n_ok": 100, "n_not_ok": 100, "n_of_one_question": 2, "n_raters": 2}
    return Balance(rows=rows, **(even | given))


def names(found: Balance) -> list[str]:
    return [one.name for one in cautions(found)]


def test_rows_that_are_enough_and_even_are_passed_without_a_word() -> None:
    assert names(balance()) == []
    assert names(balance("demonstrations", n_ok=0, n_not_ok=0, n_raters=1)) == []
    assert names(balance("pairs", n_ok=0, n_not_ok=0)) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (balance(n_rows=31, n_ok=30, n_not_ok=1), ["uneven"]),
        (balance(n_rows=30, n_ok=30, n_not_ok=0), ["only_ok"]),
        (balance(n_rows=30, n_ok=0, n_not_ok=30), ["only_not_ok"]),
        (balance("pairs", n_rows=1, n_ok=0, n_not_ok=0, n_of_one_question=1), ["few_rows"]),
        (
            balance("demonstrations", n_rows=3, n_ok=0, n_not_ok=0, n_of_one_question=1),
            ["few_rows"],
        ),
        (balance("demonstrations", n_ok=0, n_not_ok=0, n_of_one_question=180), ["one_question"]),
        (balance("pairs", n_ok=0, n_not_ok=0, n_raters=1), ["one_rater"]),
        (balance("pairs", n_longer=150, n_shorter=50), ["longer"]),
        (balance("pairs", n_longer=50, n_shorter=150), ["shorter"]),
        (balance("pairs", n_longer=110, n_shorter=90), ["length"]),
        (balance("pairs", n_longer=1_100, n_shorter=900), ["length"]),
        (balance("pairs", n_longer=7, n_shorter=3), ["length"]),
    ],
)
def test_rows_that_are_few_or_uneven_are_told_before_training(
    found: Balance, said: list[str]
) -> None:
    assert names(found) == said
    for language in ("en", "ja"):
        assert all(caution_sentences(cautions(found), language))  # type: ignore[arg-type]


def test_the_length_balance_of_pairs_is_told_with_its_interval(database: Database) -> None:
    with database.write() as session:
        lab = Lab(session)
        for number in range(12):
            q = lab.question(f"What is the name of river number {number}?")
            better = lab.reasoning(q, "You should think " + "long and " * (number > 1) + "hard.")
            worse = lab.reasoning(q, "You should think again.")
            lab.rate(better, over=worse)
        built = lab.build(kind="dpo", near_duplicates=None)
        found = balance_of(session, built)
        freeze(session, built)
        assert read_balance(session, find_dataset(session, "lab")) == found
    assert (found.n_longer, found.n_shorter) == (10, 2)
    (told,) = [one for one in cautions(found) if one.name == "longer"]
    assert told.values == {"percent": 83, "low": 55, "high": 95, "n": 12}  # Wilson, by hand


@pytest.mark.parametrize("n_ok", [1, 7, 30, 40, 41, 100, 5_000])
@pytest.mark.parametrize("n_not_ok", [1, 30, 31, 400])
def test_weighted_numbers_stand_between_one_and_four_thirds(n_ok: int, n_not_ok: int) -> None:
    desirable, undesirable = class_weights(n_ok, n_not_ok)
    assert min(desirable, undesirable) == 1.0
    ratio = desirable * n_ok / (undesirable * n_not_ok)
    assert MIN_RATIO - 1e-3 <= ratio <= MAX_RATIO + 1e-3


def test_thirty_ok_and_one_not_ok_are_weighed_unless_weights_are_set() -> None:
    spec = parse_spec({"dataset": "a"})
    found = resolve(spec, "kto", "cpu", 0, n_ok=30, n_not_ok=1)
    assert (found.settings.desirable_weight, found.settings.undesirable_weight) == (1.0, 22.5)
    assert "undesirable_weight 22.5" in found.why
    own = parse_spec({"dataset": "a", "desirable_weight": 0.5})
    settings = resolve(own, "kto", "cpu", 0, n_ok=30, n_not_ok=1).settings
    assert (settings.desirable_weight, settings.undesirable_weight) == (0.5, 1.0)
    even = resolve(spec, "kto", "cpu", 0, n_ok=40, n_not_ok=30)
    assert (even.settings.undesirable_weight, "weigh" in even.why) == (1.0, False)
    with pytest.raises(UsageError, match="only KTO weighs OK and not OK rows"):
        resolve(own, "dpo", "cpu", 0)


def test_a_preview_and_a_frozen_dataset_say_the_same(
    database: Database, home: Path, tmp_path: Path
) -> None:
    with database.write() as session:
        lab = Lab(session)
        for number in range(31):
            _, variant, _ = lab.whole(f"What is {number} times {number}?")
            lab.rate(variant, float(number > 0), axis="ok")
        built = lab.build(kind="kto", near_duplicates=None)
        found = balance_of(session, built)
        assert (found.n_ok, found.n_not_ok, found.n_of_one_question) == (30, 1, 1)
        freeze(session, built)
        assert read_balance(session, find_dataset(session, "lab")) == found
    shown = CliRunner().invoke(app, ["dataset", "show", "lab"])
    assert "30 rows are OK and 1 are not: training weighs the rarer kind up" in shown.output
    assert "All judgements behind the rows are one rater's" in shown.output
    told = json.loads(CliRunner().invoke(app, ["dataset", "show", "lab", "--json"]).stdout)
    assert len(told["warnings"]) == 2
    rules = tmp_path / "rules.yaml"
    rules.write_text("name: again\nkind: kto\nnear_duplicates: null\nheld_out: 0\n", "utf-8")
    preview = ["dataset", "build", str(rules), "--preview", "--json"]
    assert json.loads(CliRunner().invoke(app, preview).stdout)["warnings"] == told["warnings"]
