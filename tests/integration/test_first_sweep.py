"""The first thing people do: ``q2q sweep run examples/sweeps/first.yaml``, with the real model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db.database import Database
from db.settings import settings
from db.tables import Answer
from db.texts.provenance import provenance
from serving.engine.server import read_record

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
COMMAND = ["sweep", "run", "examples/sweeps/first.yaml", "--json"]


def run(*arguments: str) -> str:
    """Run a command as the tour of the README does; return what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", *arguments],
        cwd=ROOT,
        env=os.environ | {"Q2Q_DEVICE": "cpu", "Q2Q_KV_CACHE_GIB": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_first_sweep_fills_an_empty_home_and_gives_cards_to_rate(
    embedded_model: Path, database: Database, home: Path
) -> None:
    run("setup")
    result = json.loads(run(*COMMAND))
    assert (result["cells"], result["done"], result["failed"]) == (48, 48, 0)
    assert read_record(settings().home_dir) is None, "the server ends with the command"
    queue = run("rate", "queue", "--name", "pilot", "--minutes", "20", "--keep-flagged", "--json")
    assert json.loads(queue)["cards"] >= 10
    with database.read() as session:
        query = select(func.max(Answer.id)).where(Answer.generation_id.is_not(None))
        origin = provenance(session, f"a{session.scalar(query)}")
    assert origin.generation is not None
    assert origin.generation.model.digest
    assert origin.generation.prompt_text
    assert origin.generation.finish_reason in ("stop", "length")
