"""`q2q train` as people type it: run, stop with Ctrl-C, resume, list and show."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from db.database import Database
from db.tables import TrainingMetric

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[2]
Q2Q = [sys.executable, "-m", "workbench.cli.main"]
RUN = ["train", "run", "examples/training_runs/first_round.yaml", "--max-steps", "3"]
DEADLINE_S = 300
"""A look at the held-out rows and its sample texts come before the first step."""


def q2q(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*Q2Q, *words], cwd=ROOT, capture_output=True, text=True, check=False)


def wait_for_a_step(database: Database) -> None:
    due = time.monotonic() + DEADLINE_S
    while not _has_curves(database):
        assert time.monotonic() < due, "no step was trained in time"
        time.sleep(0.1)


def _has_curves(database: Database) -> bool:
    with database.read() as session:
        return bool(session.scalar(select(TrainingMetric.step).limit(1)))


def test_a_run_is_stopped_by_ctrl_c_and_resumed(database: Database, home: Path) -> None:
    rows = (ROOT / "examples" / "training" / "english.jsonl").read_text("utf-8").splitlines()
    few = home / "few.jsonl"
    few.write_text("\n".join(rows[:24]) + "\n", "utf-8")
    # In full: q2q question import examples/training
    assert q2q("question", "import", str(few)).returncode == 0
    assert q2q("dataset", "build", "examples/datasets/first_round.yaml").returncode == 0
    running = subprocess.Popen([*Q2Q, *RUN], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_a_step(database)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=DEADLINE_S)
    finally:
        running.kill()  # its training ends with it
        running.communicate()
    assert running.returncode == 130
    assert "Preset laptop: there is no GPU" in told
    assert "To go on: q2q train resume 1" in told
    ended = q2q("train", "resume", "1", "--json")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["state"], result["step"], result["adapter"]) == (
        "done",
        3,
        "first-round-adapter",
    )
    (listed,) = json.loads(q2q("train", "list", "--json").stdout)
    assert listed["held_out_loss"] > 0
    assert "first-round-adapter" in q2q("model", "list").stdout
    assert "held_out_loss: " in q2q("train", "show", "1").stdout
