"""Servers by URL from the command line: refused names and addresses, and why slots failed."""

import json
from pathlib import Path

import pytest

from db.database import Database
from db.engines import EngineUse, list_engines, save_load
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab
from tests.unit.test_cli import Q2Q, q2q, spec

__all__ = ["q2q", "spec"]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("", "http://127.0.0.1:9/v1"),
        ("a b", "http://127.0.0.1:9/v1"),
        ("big", "http://127.0.0.1:99999/v1"),
        ("secret", "http://user:password@127.0.0.1:9/v1"),
    ],
)
def test_a_server_that_cannot_be_kept_is_refused_and_its_password_shown_nowhere(
    q2q: Q2Q, database: Database, name: str, url: str
) -> None:
    ended = q2q("serve", "add", name, url)
    assert ended.code == 2
    assert "password@" not in ended.out + ended.err
    assert lab.scalar(database, "SELECT count(*) FROM engine WHERE kind = 'external'") == 0


def test_an_address_with_a_password_in_the_settings_is_refused(
    q2q: Q2Q, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [{"name": "teacher", "url": "http://user:hunter2@127.0.0.1:9/v1"}]
    monkeypatch.setenv("Q2Q_SERVERS", json.dumps(servers))
    ended = q2q("serve", "status")
    assert ended.code == 2
    assert "holds a user or a password" in ended.err
    assert "hunter2" not in ended.err


def test_a_password_in_an_older_store_is_masked(q2q: Q2Q, database: Database) -> None:
    url = "http://user:hunter2@127.0.0.1:9/v1"
    with database.write() as session:
        session.execute(
            lab.text(
                "INSERT INTO engine"
                " (name, kind, url, state, wanted, capabilities, updated_at, message)"
                " VALUES ('old', 'external', :url, 'unhealthy', true, '{}', '2026-01-01', :said)"
            ),
            {"url": url, "said": f"Nothing answers at {url}."},
        )
    for ended in (q2q("serve", "status", "--json"), q2q("serve", "status", "--probe", "--json")):
        assert "hunter2" not in ended.out + ended.err
        assert "http://***@127.0.0.1:9/v1" in ended.out


def test_status_and_plan_tell_of_a_pool_and_of_each_engine(
    q2q: Q2Q, spec: Path, database: Database, fake_server: FakeServer
) -> None:
    q2q("serve", "status", "--probe")
    fake_server.models = (*fake_server.models, "fake-2")
    added = q2q("serve", "add", "second", fake_server.url, "--model", "fake")
    assert added.code == 0, added.err
    with database.write() as session:
        use = EngineUse(
            engine=0, running=7, waiting=1, kv_cache_usage=0.5, tokens_per_second=210.0, gpus=()
        )
        save_load(session, next(e.id for e in list_engines(session) if e.name == "second"), [use])
    status = q2q("serve", "status")
    assert "210.0" in status.out
    assert "50%" in status.out
    (told,) = [one for one in q2q("serve", "status", "--json").json if one["name"] == "second"]
    assert (told["load"][0]["running"], told["model_name"]) == (7, "fake")
    assert "fake on 2 servers (" in q2q("sweep", "plan", spec).out


def test_run_and_show_say_why_slots_failed(q2q: Q2Q, spec: Path, fake_server: FakeServer) -> None:
    fake_server.context_length = 12
    spec.write_text(spec.read_text() + "reasoning_sampling: [{max_tokens: 4}]\n")
    ran = q2q("sweep", "run", spec, "--json")
    told = ran.json["result"]
    assert ran.code == 1
    assert q2q("sweep", "show", "1", "--json").json["failures"] == told["failures"]
    assert sum(one["n"] for one in told["failures"]) == told["failed"] > 0
    assert "HTTP 400: This model's maximum context length" in told["failures"][0]["error"]
    assert " × The model server at " in ran.err
    assert " × The model server at " in q2q("sweep", "show", "1").err
    fake_server.context_length = 4096
    assert q2q("sweep", "retry", "1", "--json").json["failures"] == []


def test_a_level_that_its_server_refuses_is_told_by_the_plan(
    q2q: Q2Q, spec: Path, fake_server: FakeServer
) -> None:
    fake_server.refuses = frozenset({"top_k"})
    q2q("serve", "status", "--probe")
    planned = q2q("sweep", "plan", spec)
    assert planned.code == 0
    assert "The server fake1 of fake refuses top_k" in planned.err
    spec.write_text(spec.read_text() + "answer_sampling: [{top_k: 5}, {top_k: 50}]\n")
    refused = q2q("sweep", "plan", spec)
    assert refused.code == 2
    assert "answer_sampling, level 2: top_k 50" in refused.err
    assert "answer_sampling, level 1: top_k 5 " in refused.err


def test_a_server_that_only_settings_can_mend_is_not_waited_for(
    q2q: Q2Q, spec: Path, fake_server: FakeServer
) -> None:
    q2q("serve", "status", "--probe")
    fake_server.default = "redirect"
    fake_server.location = "https://other.org/v1/completions"
    ran = q2q("sweep", "run", spec)
    assert ran.code == 1
    assert "No model server offers fake now" in ran.err
    assert "give https://other.org/v1 as its URL" in ran.err


def test_a_plan_is_told_for_gpus_that_are_not_there(
    q2q: Q2Q, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = q2q("serve", "plan", "unsloth/Phi-3-medium-4k-instruct", "--gpus", "2x24")
    assert told.code == 0
    assert told.out.startswith("phi-3-medium-4k-instruct in FP8, 2 engines on 2 x 24 GB (22 GiB)")
    sizes = {"hidden_size": 51200, "num_hidden_layers": 40, "num_attention_heads": 400}
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"vocab_size": 32064}))
    refused = q2q("serve", "plan", str(tmp_path), "--gpus", "2x24", "--json")
    assert refused.code == 1
    assert "does not fit 2 x 24 GB" in json.loads(refused.out)["error"]
    assert q2q("serve", "plan", "--gpus", "two").code == 2
    nodes = {"Q2Q_DEVICE": "cuda", "Q2Q_RAY_ADDRESS": "10.0.0.1:6379", "Q2Q_RAY_GPUS": "2x24"}
    for name, value in nodes.items():
        monkeypatch.setenv(name, value)
    assert q2q("serve", "plan", "unsloth/Phi-3-medium-4k-instruct").out == told.out
    assert "no model in the store" in q2q("serve", "plan", "nothing/here", "--gpus", "1x24").err


def test_a_sweep_stops_at_its_budget_and_goes_on_with_a_larger_one(
    q2q: Q2Q, spec: Path, database: Database
) -> None:
    spec.write_text(spec.read_text() + "max_tokens: 2400\n")
    ran = q2q("sweep", "run", spec)
    assert ran.code == 1
    assert "The budget of 2,400 tokens is used" in ran.err
    assert "q2q sweep resume 1" in ran.err
    spec.write_text(spec.read_text().replace("2400", "2401"))  # the same sweep, which goes on
    again = q2q("sweep", "run", spec)
    assert again.code == 1
    assert "The budget of 2,401 tokens is used" in again.err
    shown = q2q("sweep", "show", "1", "--json").json
    assert (shown["state"], shown["max_tokens"]) == ("cancelled", 2401)
    assert 0 < shown["spent_tokens"] <= 2401
    unpriced = q2q("sweep", "resume", "1", "--max-cost", "5")
    assert unpriced.code == 1
    assert "price of fake on its server is not known" in unpriced.err
    with database.write() as session:
        session.execute(lab.text("UPDATE sweep SET max_cost = NULL"))
    resumed = q2q("sweep", "resume", "1", "--max-tokens", "1000000", "--json").json
    assert resumed["done"] == resumed["cells"]
