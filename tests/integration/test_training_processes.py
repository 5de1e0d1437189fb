"""The same training by two processes, data parallel; without GPUs they talk over gloo."""

import asyncio
from pathlib import Path

import pytest

from db.database import Database
from db.settings import Settings
from db.training import run_curves
from tests.conftest import CACHE
from tests.unit.dataset_lab import Lab
from training.runs.prepare import plan_run, queue_run
from training.runs.run import run_training
from training.runs.spec import parse_spec

pytestmark = pytest.mark.soak
SAME_CURVE = 0.03
"""Relative; the rows of a step are the same, their order of adding up is not."""


def losses(database: Database, settings: Settings, *, processes: int, batch: int) -> list[float]:
    spec = parse_spec(
        {
            "dataset": "lab",
            "preset": "laptop",
            "name": f"by-{processes}",
            "max_steps": 3,
            "warmup": 0,
            "samples": 0,
            "batch": batch,
            "processes": processes,
        }
    )
    prepared = plan_run(database, settings, spec)
    with database.write() as session:
        run = queue_run(session, spec, prepared)
    outcome = asyncio.run(run_training(database, settings, run.id))
    assert outcome.adapter_model_version_id is not None
    with database.read() as session:
        return list(run_curves(session, run.id)["loss"].values)


def test_two_processes_learn_what_one_does(database: Database, home: Path) -> None:
    with database.write() as session:
        lab = Lab(session)
        for i in range(12):
            lab.whole(f"What is {i} plus {i}, please?", f"You should add {i} twice.", f"{2 * i}")
        lab.freeze(take={"sources": ["imported"]}, near_duplicates=None, findings=[])
    settings = Settings(home=home, cache=Path(CACHE), device="cpu")
    one = losses(database, settings, processes=1, batch=4)
    two = losses(database, settings, processes=2, batch=2)
    assert two == pytest.approx(one, rel=SAME_CURVE)
