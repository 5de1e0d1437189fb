"""A round that is refused uses up no name; one that failed at its first step can be mended."""

from typing import Any

import pytest

from db.errors import UsageError
from db.rounds import list_rounds, move_round
from tests.unit.test_rounds import EXAMPLE, Lab, base_of_any_kind, lab
from workbench.rounds.spec import load_round, parse_round
from workbench.rounds.start import begin_round

__all__ = ["base_of_any_kind", "lab"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "typo"}, "There is no dataset 'typo'"),
        ({"base": "typo"}, "typo"),
        ({"from": "typo"}, "There is no round 'typo'"),
        ({"train": {"preset": "typo"}}, "preset"),
        ({"compare": {"formats": ["typo"]}}, "typo"),
        ({"compare": {"rounds": ["typo"]}}, "There is no round 'typo'"),
        ({"compare": {"questions": {"ids": [10**9]}}}, "there is no q1000000000"),
    ],
)
def test_a_refused_round_does_not_use_up_its_name(
    lab: Lab, change: dict[str, Any], said: str
) -> None:
    config = load_round(EXAMPLE).as_config() | {"base": "small"} | change
    with pytest.raises(UsageError, match=said):
        begin_round(lab.database, lab.settings, parse_round(config))
    with lab.database.read() as session:
        assert list_rounds(session) == []
    assert lab.begin().step == "dataset"


def test_rules_that_name_what_is_not_there_are_refused_before_the_round_is_written(
    lab: Lab,
) -> None:
    rules = load_round(EXAMPLE).as_config()["dataset"] | {"targets": {"typo": "both"}}
    with pytest.raises(UsageError, match="no role 'typo'"):
        lab.begin(dataset=rules)
    with lab.database.read() as session:
        assert list_rounds(session) == []


def test_a_round_that_failed_before_it_made_anything_can_be_mended(lab: Lab) -> None:
    found = lab.begin()
    with lab.database.write() as session:
        move_round(session, found.id, state="failed")
    mended = lab.begin(merge=False)
    assert (mended.id, mended.config["merge"], mended.state) == (found.id, False, "open")
    with lab.database.write() as session:
        move_round(session, found.id, state="failed", step="train")
    with pytest.raises(UsageError, match="another config"):
        lab.begin()
