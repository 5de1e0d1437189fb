"""``q2q score`` from a sweep to the verdict, through the worker and a server that is a fake."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from db.database import Database
from db.errors import Q2QError, UsageError
from db.jobs import enqueue, get_job
from serving.engine.equality import TEXT
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab
from workbench.cli.main import app

SPEC = """
name: pilot
models: [fake]
formats: [tagged@1]
variants: 2
answers: 2
"""


def q2q(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def told(*words: str) -> Any:
    return json.loads(q2q(*words, "--json").stdout)


@pytest.fixture
def swept(
    database: Database, fake_server: FakeServer, embedded_model: Path, tmp_path: Path
) -> Database:
    """A store with a sweep of three questions, whose server takes ids and tells probabilities."""
    lab.fill(database, 3, models=())
    (tmp_path / "pilot.yaml").write_text(SPEC, "utf-8")
    q2q("serve", "add", "teacher", fake_server.url, "--tokenizer", str(embedded_model))
    q2q("sweep", "run", str(tmp_path / "pilot.yaml"))
    return database


def test_a_sweep_is_scored_once_and_told(swept: Database, fake_server: FakeServer) -> None:
    before = q2q("score", "show", "--sweep", "1").stdout
    assert "0 of 132 pairs" in before
    assert "By their words, answers under different reasonings" in before
    outcome = told("score", "run", "--sweep", "1")
    assert (outcome["scored"], outcome["new"], outcome["failed"]) == (132, 132, 0)
    count = fake_server.count
    assert told("score", "run", "--sweep", "1")["new"] == 0
    later = list(fake_server.requests)[count:]  # a server is probed each time, by texts of its own
    assert all(one.get("prompt_logprobs") != 0 or one["prompt"] == TEXT for one in later)
    shown = q2q("score", "show", "--sweep", "1").stdout
    assert "132 of 132 pairs" in shown
    assert "Bits of 1.00 possible" in shown
    for kind in ("own", "shuffled", "truncated", "foreign"):
        assert kind in shown
    assert "Leak, bits a token" in shown
    assert "temperature 0.8 · top_p 0.95" in shown
    assert "Not clear yet whether the reasoning is an input or only an output." in shown
    assert "Sampling: 0 questions have answers drawn from what scores them" in shown
    assert "to call reasonings only an output takes 30." in shown
    assert "For each token: not clear yet." in shown
    levels = told("score", "show", "--question", "q1")["levels"]
    assert [level["n_scored"] for level in levels] == [1]
    assert levels[0]["verdict"] == levels[0]["per_token"]["verdict"] == "unclear"
    assert {"what": "sampling", "has": 0, "needs": 30} in levels[0]["missing"]
    assert levels[0]["sampling"] == "temperature 0.8 · top_p 0.95"
    assert sorted(levels[0]["scores"]) == ["foreign", "own", "shuffled", "truncated"]


def test_a_part_is_scored_on_demand(swept: Database) -> None:
    outcome = told("score", "run", "--question", "q2", "--no-controls", "--no-leak")
    assert (outcome["questions"], outcome["new"]) == (1, 8)
    assert told("score", "run", "--role", "translator", "--no-leak")["questions"] == 1


def test_a_job_that_waits_is_cancelled(database: Database) -> None:
    with database.write() as session:
        job_id, other = enqueue(session, "score"), enqueue(session, "probe_engine")
    assert f"Job {job_id} stops." in q2q("score", "cancel", str(job_id)).stdout
    with database.read() as session:
        assert get_job(session, job_id).state == "cancelled"
    assert told("score", "cancel", str(job_id)) == {"job_id": job_id, "cancelled": False}
    with pytest.raises(UsageError, match="scores nothing"):
        q2q("score", "cancel", str(other))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "nothing to score"),
        (["run", "--sweep", "one"], "'one' is no number of a sweep"),
        (["show", "--sweep", "7"], "no sweep 7"),
        (["show", "--question", "x"], "'x' is no number of a question"),
        (["run", "--people"], "name one"),
        (["show", "--role", "pirate"], "no role 'pirate'"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(
    database: Database, words: list[str], said: str
) -> None:
    with pytest.raises(Q2QError, match=said):
        q2q("score", *words)
