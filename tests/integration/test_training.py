"""Real training on CPU: the loss falls, a killed run resumes, preferences move their metric."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.models import get_model
from db.settings import Settings
from db.training import Curve, get_run, run_curves, run_samples
from tests.conftest import CACHE
from tests.training_fixture import TrainedAdapter
from tests.unit.dataset_lab import Lab
from training.runs.folder import RunFolder
from training.runs.prepare import plan_run, queue_run
from training.runs.process import TrainingFailed
from training.runs.run import TrainingOutcome, run_folder, run_training
from training.runs.spec import parse_spec

pytestmark = pytest.mark.training
SAME_CURVE = 0.02
"""Relative tolerance between the losses of a run in one go and of one that was killed."""
MOVES = {"dpo": 0.1, "orpo": 0.02}
"""By how much the margin of the rewards grows in five steps; ORPO's are means over tokens."""
SHORT = {"preset": "laptop", "samples": 0, "eval_every": 100, "warmup": 0}


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, cache=Path(CACHE), device="cpu")


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def queue(database: Database, settings: Settings, **spec: Any) -> int:
    asked = parse_spec({"dataset": "lab", **SHORT, **spec})
    prepared = plan_run(database, settings, asked)
    with database.write() as session:
        return queue_run(session, asked, prepared).id


def train(database: Database, settings: Settings, run_id: int, **more: Any) -> TrainingOutcome:
    return asyncio.run(run_training(database, settings, run_id, **more))


def curves(database: Database, run_id: int) -> dict[str, Curve]:
    with database.read() as session:
        return run_curves(session, run_id)


def test_the_loss_falls_on_the_example_set(trained_adapter: TrainedAdapter) -> None:
    outcome = trained_adapter.outcome
    database = trained_adapter.open()
    try:
        with database.read() as session:
            run = get_run(session, outcome.run_id)
            found = run_curves(session, run.id)
            samples = run_samples(session, run.id)
            adapter = get_model(session, outcome.adapter_model_version_id or 0)
    finally:
        database.close()
    sys.stdout.write(f"{run.summary['phases']}\n")
    loss, held_out = found["loss"].values, found["held_out_loss"].values
    assert sum(loss[-5:]) < 0.8 * sum(loss[:5])
    assert held_out[-1] < 0.8 * held_out[0]
    assert min(found["tokens_per_second"].values) > 0
    assert {"learning_rate", "grad_norm", "memory_gib"} <= set(found)
    assert adapter.kind == "adapter"
    assert adapter.base_id == run.base_model_version_id
    assert {sample.step for sample in samples} >= {0, outcome.steps}
    folder = RunFolder(Path(run.folder or ""))
    config = json.loads(folder.config.read_text())
    assert config["dataset_hash"] == run.config["dataset_hash"]
    assert config["base_digest"].startswith("sha256:")
    assert {"torch", "trl", "unsloth", "commit"} <= set(config["versions"])
    assert "Unsloth" in folder.log.read_text()


async def _killed_after(database: Database, settings: Settings, run_id: int, step: int) -> None:
    folder = run_folder(settings, run_id)

    def kill(done: int, total: int | None, message: str) -> None:
        if done >= step and folder.pid.exists():
            os.kill(json.loads(folder.pid.read_text())["pid"], signal.SIGKILL)

    with pytest.raises(TrainingFailed, match="killed"):
        await run_training(database, settings, run_id, on_progress=kill)


@pytest.mark.soak  # KTO's run below takes the same way; gradients of all: test_training_processes
@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_pairs_move_the_margin_of_their_rewards(
    database: Database, settings: Settings, method: str
) -> None:
    with database.write() as session:
        lab = Lab(session)
        for i in range(8):
            _, v, _ = lab.whole(f"Why is number {i} nice?", f"You should count to {i}.")
            q = lab.question(f"Why is number {i} nice?")
            lab.rate(v, over=lab.reasoning(q, f"No idea, ask {i} dogs."))
        lab.freeze(kind="dpo", near_duplicates=None, findings=[])
    run_id = queue(database, settings, method=method, max_steps=5, batch=4, learning_rate=2e-3)
    train(database, settings, run_id)
    found = curves(database, run_id)
    margins = found["rewards/margins"].values
    assert margins[-1] > margins[0] + MOVES[method]
    assert found["rewards/accuracies"].values[-1] >= 0.9
    assert found["loss"].values[-1] < found["loss"].values[0]


def test_a_killed_run_resumes_with_the_same_curve_and_moves_rewards_apart(
    database: Database, settings: Settings
) -> None:
    """Steps 3 and 4 are done before the kill, and once more from the checkpoint of step 2."""
    with database.write() as session:
        lab = Lab(session)
        for i in range(8):
            _, v, _ = lab.whole(f"Why is number {i} nice?", f"You should count to {i}.")
            w = lab.reasoning(lab.question(f"Why is number {i} nice?"), f"No idea, ask {i} dogs.")
            lab.rate(v, 1, axis="ok"), lab.rate(w, 0, axis="ok")
        lab.freeze(kind="kto", near_duplicates=None, findings=[])
    run_id = queue(database, settings, max_steps=6, save_every=2, batch=4, learning_rate=2e-3)
    asyncio.run(_killed_after(database, settings, run_id, 4))
    before = curves(database, run_id)["loss"]
    with database.read() as session:
        assert get_run(session, run_id).state == "failed"
    folder = run_folder(settings, run_id)
    while (checkpoint := folder.last_checkpoint()) and checkpoint.name != "checkpoint-2":
        shutil.rmtree(checkpoint)
    assert checkpoint is not None
    train(database, settings, run_id)
    found = curves(database, run_id)
    after, margins = found["loss"], found["rewards/margins"].values
    assert after.steps == (1, 2, 3, 4, 5, 6)
    assert len(before.steps) >= 4
    known = len(before.steps)
    assert after.values[:known] == pytest.approx(before.values, rel=SAME_CURVE, abs=0.01)
    assert margins[-1] > margins[0] + 0.1
    assert not folder.checkpoints.exists()
