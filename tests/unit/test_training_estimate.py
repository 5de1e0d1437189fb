"""What a run takes is told before it begins: by a run trained alike, or by measurements."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from db.database import Database
from db.models import get_model
from db.settings import Settings
from db.training import add_metrics, get_run, set_run_state, update_run
from serving.engine.shape import DEFAULT_SHAPE
from tests.conftest import CACHE
from tests.unit.dataset_lab import Lab
from training.runs.estimate import RowSizes, estimate_run
from training.runs.folder import RunFolder
from training.runs.prepare import estimate_plan, plan_run, queue_run, write_folder
from training.runs.presets import RunSettings
from training.runs.spec import parse_spec
from training.runs.watch import RunRecorder
from workbench.cli.main import app
from workbench.i18n import estimate_sentences, translate_message

MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "training_fast_h200.json"
ROWS = RowSizes(n_rows=2_000, longest=(324,) * 20, tokens=(324,) * 20)


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, cache=Path(CACHE), device="cpu")


@pytest.fixture
def planned(database: Database, settings: Settings) -> dict[str, Any]:
    """A plan for 12 rows, of which one is too long."""
    with database.write() as session:
        lab = Lab(session)
        for i in range(11):
            lab.whole(f"What is number {i}?", f"You should name {i} in words.", "A number.")
        lab.whole("Why so long?", "You should go on. " * 200, "Because.")
        lab.freeze(take={"sources": ["imported"]}, held_out=0, near_duplicates=None, findings=[])
    spec = parse_spec({"dataset": "lab", "max_length": 300, "epochs": 3, "batch": 2})
    return {"spec": spec, "planned": plan_run(database, settings, spec)}


def test_steps_follow_from_rows_and_epochs(
    database: Database, settings: Settings, planned: dict[str, Any]
) -> None:
    found = estimate_plan(database, settings, **planned)
    assert found is not None
    assert found.steps == 3 * 6  # 11 rows in batches of 2
    assert found.too_long == pytest.approx(1 / 12)
    assert found.like_run is None
    told = " ".join(estimate_sentences(found))
    assert "18 steps" in told
    assert "Nothing was trained alike here yet" in told
    assert "8% of the rows are longer" in told
    assert "18 ステップ" in estimate_sentences(found, "ja")[0]
    assert estimate_sentences(None) == ["No row fits into the longest row; raise it."]


def test_the_command_line_tells_the_plan(
    database: Database, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("Q2Q_DEVICE", "cpu")
    words = ["train", "plan", "--dataset", "lab", "--max-length", "300", "--epochs", "3", "--rank"]
    done = CliRunner().invoke(app, [*words, "8", "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert (told["settings"]["r"], told["rows"], told["takes"]["steps"]) == (8, 12, 6)
    lines = CliRunner().invoke(app, [*words, "8"], catch_exceptions=False).stdout
    assert "Preset laptop: there is no GPU" in lines
    assert "6 steps" in lines


def test_a_run_that_was_trained_alike_tells_speed_memory_and_the_time_around_the_steps(
    database: Database, settings: Settings, planned: dict[str, Any]
) -> None:
    with database.write() as session:
        run = queue_run(session, planned["spec"], planned["planned"])
        phases = {"loading": 7.0, "saving": 1.0, "evaluation": 8.0, "samples": 2.0, "steps": 99.0}
        summary = {"phases": phases, "step": 60, "memory_gib": 2.5, "device": "cpu"}
        update_run(session, run.id, summary=summary)
        add_metrics(
            session, run.id, [("tokens_per_second", i, v) for i, v in enumerate((9, 50, 60))]
        )
    assert _found(database, settings, planned).like_run is None, "it is not done"
    with database.write() as session:
        set_run_state(session, run.id, "done")
    found = _found(database, settings, planned)
    assert (found.like_run, found.tokens_per_second, found.memory_gib) == (run.id, 50, 2.5)
    looks_then, looks_now = 1 + 60 // 20, 1  # one at the start, then every 20 steps
    assert found.around_s == pytest.approx(8 + 10 / looks_then * looks_now)
    assert found.seconds > found.around_s
    other = planned | {"spec": planned["spec"].model_copy(update={"batch": 4})}
    other["planned"] = plan_run(database, settings, other["spec"])
    assert _found(database, settings, other).like_run is None, "other batches take other memory"


def _found(database: Database, settings: Settings, planned: dict[str, Any]) -> Any:
    return estimate_plan(database, settings, **planned)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("compiled, max, fp8", "sft"), ("compiled, fast, nf4_fp8", "sft"), ("notebook", "sft"),
        ("compiled, max, bf16", "sft"), ("Unsloth, max", "sft"), ("compiled, fp8, dpo", "dpo"),
    ],
)  # fmt: skip
def test_estimates_are_within_a_factor_of_two_of_what_was_measured_on_an_h200(
    database: Database, settings: Settings, planned: dict[str, Any], name: str, method: str
) -> None:
    measured = json.loads(MEASURED.read_text())["runs"][name]
    chosen = RunSettings(**measured["settings"])
    with database.read() as session:
        base = get_model(session, planned["planned"].base.id)
        found = estimate_run(session, base, DEFAULT_SHAPE, chosen, method, "cuda", ROWS)
    assert found is not None
    speed = found.tokens_per_second / measured["tokens_per_second"]
    assert 1 / 2 < speed < 2, speed
    if measured["settings"]["packing"]:  # of an FP8 base two copies are held there
        assert found.memory_gib == pytest.approx(measured["peak_memory_gib"], rel=0.4)


def test_the_row_of_a_run_keeps_what_it_was_thought_to_take(
    database: Database, settings: Settings, planned: dict[str, Any], tmp_path: Path
) -> None:
    with database.write() as session:
        run = queue_run(session, planned["spec"], planned["planned"])
    write_folder(database, settings, run, RunFolder(tmp_path / "run"))
    with database.read() as session:
        expected = get_run(session, run.id).summary["expected_s"]
    assert expected == pytest.approx(_found(database, settings, planned).seconds, rel=0.3)
    said = RunRecorder(database, run.id).message
    assert translate_message(said, "ja").startswith("Unsloth を起動しています。残り ")
    assert said.startswith("Starting Unsloth. ")
    assert said.endswith(" left")
