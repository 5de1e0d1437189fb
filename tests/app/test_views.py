"""Judgement of the pages, without Streamlit."""

from typing import Any

from db.engines import EngineRow
from db.input_text import load_mapping
from db.jobs import JobRow
from serving.sweeps.spec import parse_spec
from workbench.ui.components.spec_editor import to_yaml
from workbench.ui.home.cards import is_moving
from workbench.ui.models.servers import can_start, can_stop
from workbench.ui.sweeps.figures import Outcome, median_tokens
from workbench.ui.sweeps.new import STARTING_SPEC, sampling_levels, sampling_rows


def job(**values: Any) -> JobRow:
    given = dict.fromkeys(JobRow.__slots__)
    return JobRow(**given | {"kind": "sweep", "state": "running", "done": 0} | values)


def engine(**values: Any) -> EngineRow:
    given = dict.fromkeys(EngineRow.__slots__)
    own = {"name": "local", "kind": "child", "wanted": True, "state": "ready"}
    return EngineRow(**given | own | values)


def test_a_page_looks_again_only_while_something_moves() -> None:
    assert not is_moving([engine()], [])
    assert is_moving([engine(state="starting")], [])
    assert is_moving([engine()], [job()])
    assert is_moving([], [])


def test_only_the_workbenchs_own_server_is_started_and_stopped_here() -> None:
    assert can_stop(engine())
    assert can_start(engine(wanted=False, state="stopped"))
    assert not can_stop(engine(name="teacher", kind="external"))


def test_a_new_spec_is_valid_and_survives_yaml() -> None:
    spec = {"name": "Colours", **STARTING_SPEC}
    assert parse_spec(load_mapping(to_yaml(spec), where="it")) == parse_spec(spec)


def test_sampling_rows_go_back_to_the_levels_that_they_came_from() -> None:
    levels = [{"temperature": 0.2, "top_p": 0.9, "max_tokens": 64, "min_p": 0.1}]
    assert sampling_levels(sampling_rows(levels)) == levels


def test_the_median_length_is_one_of_the_lengths_and_no_edge_of_a_bin() -> None:
    counted = [("answer", True, 3, 1), ("answer", True, 64, 5), ("answer", False, 900, 9)]
    outcomes = [Outcome(kind, ok, "stop", 1, 1, at, n) for kind, ok, at, n in counted]
    assert median_tokens(outcomes, "answer") == 64
    assert median_tokens(outcomes, "reasoning") is None
