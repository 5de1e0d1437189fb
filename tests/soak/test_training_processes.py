"""Several training processes as one run: stopped, killed and resumed; and on two nodes."""

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from db.child_process import REPOSITORY
from db.database import Database
from db.settings import Settings
from db.training import get_run, run_curves
from tests.conftest import CACHE
from tests.unit.dataset_lab import Lab
from training.runs.prepare import plan_run, queue_run
from training.runs.process import TrainingFailed
from training.runs.run import TrainingOutcome, run_folder, run_training
from training.runs.spec import parse_spec

pytestmark = [pytest.mark.soak, pytest.mark.training]
STEPS = 6


@pytest.fixture
def settings(database: Database, home: Path) -> Settings:
    with database.write() as session:
        lab = Lab(session)
        for i in range(24):
            lab.whole(f"What is {i} plus {i}, please?", f"You should add {i} twice.", f"{2 * i}")
        lab.freeze(take={"sources": ["imported"]}, near_duplicates=None, findings=[])
    return Settings(home=home, cache=Path(CACHE), device="cpu")


def queued(database: Database, settings: Settings, **changes: object) -> int:
    spec = parse_spec(
        {
            "dataset": "lab", "preset": "laptop", "max_steps": STEPS, "warmup": 0, "samples": 0,
            "batch": 2, "save_every": 2, "eval_every": 100, **changes,
        }
    )  # fmt: skip
    prepared = plan_run(database, settings, spec)
    with database.write() as session:
        return queue_run(session, spec, prepared).id


def train(
    database: Database,
    settings: Settings,
    run_id: int,
    on_progress: Callable[[int, str, asyncio.Event], None] = lambda step, message, stop: None,
) -> TrainingOutcome:
    async def go() -> TrainingOutcome:
        stop = asyncio.Event()
        return await run_training(
            database, settings, run_id, cancelled=stop,
            on_progress=lambda done, total, message: on_progress(done, message, stop),
        )  # fmt: skip

    return asyncio.run(go())


def kill_second(settings: Settings, run_id: int) -> None:
    """Kill the process of rank 1, and only that."""
    place = str(run_folder(settings, run_id).path)
    for process in psutil.process_iter():
        try:
            ours = place in process.cmdline() and process.environ().get("RANK") == "1"
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if ours:
            process.send_signal(signal.SIGKILL)


def test_two_processes_are_stopped_killed_and_resumed_as_one(
    database: Database, settings: Settings
) -> None:
    run_id = queued(database, settings, processes=2)
    seen: list[int] = []

    def stop_at_2(step: int, message: str, stop: asyncio.Event) -> None:
        if step >= 2:
            stop.set()

    def kill_at_4(step: int, message: str, stop: asyncio.Event) -> None:
        if step >= 4 and not seen:
            seen.append(step)
            kill_second(settings, run_id)

    assert train(database, settings, run_id, stop_at_2).state == "cancelled"
    assert run_folder(settings, run_id).last_checkpoint() is not None
    with pytest.raises(TrainingFailed, match="A training process was killed"):
        train(database, settings, run_id, kill_at_4)
    done = train(database, settings, run_id)
    assert (done.state, done.steps) == ("done", STEPS)
    with database.read() as session:
        losses = run_curves(session, run_id)["loss"]
        phases = get_run(session, run_id).summary["phases"]
    assert losses.steps == tuple(range(1, STEPS + 1))
    assert {"tokenising", "loading", "steps", "registering"} <= phases.keys()


def test_two_nodes_train_as_one(database: Database, settings: Settings) -> None:
    """Each has one process; the second is started with the line that the first says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_id = queued(database, settings, nodes=2, rendezvous=f"127.0.0.1:{port}", processes=1)
    others: list[subprocess.Popen[bytes]] = []

    def join(step: int, message: str, stop: asyncio.Event) -> None:
        if "torchrun" in message and not others:
            line = message[message.index("torchrun") :].replace(" N ", " 1 ")
            command = [sys.executable, "-m", "torch.distributed.run", *shlex.split(line)[1:]]
            others.append(
                subprocess.Popen(
                    command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}
                )
            )

    done = train(database, settings, run_id, join)
    assert (done.state, done.steps) == ("done", STEPS)
    assert others[0].wait(60) == 0
