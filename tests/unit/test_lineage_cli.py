"""``q2q lineage`` tells both ways, for people and for machines."""

import json
import sys
from collections.abc import Callable

import pytest

from db.database import Database
from tests.app.seed import Seeded, seed_store
from workbench.cli import main

Lineage = Callable[..., str]


@pytest.fixture
def seeded(database: Database) -> Seeded:
    return seed_store(database)


@pytest.fixture
def lineage(
    seeded: Seeded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Lineage:
    """Run ``q2q lineage`` and return what it prints; fail where it does."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["q2q", "lineage", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.run()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return captured.out

    return run


def test_a_text_is_shown_with_what_it_came_from_and_what_it_led_to(lineage: Lineage) -> None:
    up, down = lineage("v1").split("led to:")
    assert "comes from:" in up
    assert "g1  You should explain what happens to starch" in up
    assert "sweep 1  First look: two temperatures  [sweep]" in up
    assert "q1  Why does bread go stale" in up
    assert "answers (2)" in down
    assert "a1  Staling is mostly about starch" in down


@pytest.mark.parametrize(
    ("name", "side", "relation", "first"),
    [
        ("q1", "down", "variants", "v1"),
        ("v1", "up", "generation", "g1"),
        ("a1", "up", "under", "v1"),
        ("g1", "down", "variants", "v1"),
        ("m1", "down", "generations", "g72"),
    ],
)
def test_machines_get_one_shape_for_every_kind(
    lineage: Lineage, name: str, side: str, relation: str, first: str
) -> None:
    told = json.loads(lineage(name, "--json"))
    assert told["ref"] == name
    group = next(group for group in told[side] if group["relation"] == relation)
    assert group["items"][0]["ref"] == first
    assert group["total"] >= len(group["items"]) >= 1


def test_a_beginning_says_that_it_came_from_nothing(lineage: Lineage) -> None:
    assert "comes from: nothing" in lineage("q1")
    assert "led to: nothing" in lineage("a1")
