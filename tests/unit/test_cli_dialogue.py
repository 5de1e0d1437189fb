"""``q2q dialogue`` from a theme to a report, through the worker and a server that is a fake."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from db.database import Database
from db.errors import Q2QError, UsageError
from tests.fakes.server import FakeServer, fake_text
from tests.unit.dialogue_lab import THEME, asking
from workbench.cli.main import app


def q2q(*words: str) -> Result:
    result = CliRunner().invoke(app, ["dialogue", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def told(*words: str) -> Any:
    return json.loads(q2q(*words, "--json").stdout)


@pytest.fixture
def theme(
    database: Database,
    fake_server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    fake_server.text = asking
    servers = [{"name": "fake1", "url": fake_server.url}]
    monkeypatch.setenv("Q2Q_SERVERS", json.dumps(servers))
    path = tmp_path / "town.yaml"
    path.write_text(yaml.safe_dump(THEME), "utf-8")
    return str(path)


def test_a_scripted_session_of_two_turns_a_fork_and_its_reports(theme: str, tmp_path: Path) -> None:
    assert told("new", theme, "--as", "Ada")["dialogue"] == 1
    first = told("next", "1")
    assert first["step"] == "choose"
    assert [card["letter"] for card in first["answers"]] == ["A", "B", "C"]
    words = ("next", "1", "--answer", "B", "--move", "rebut", "--question", "2", "--as", "Ada")
    second = told(*words, "--reason", "nobody doubted it yet")
    assert (second["node"], second["step"]) == (2, "answer")
    told("next", "1", "--answer", "A", "--fact", "41 % came by car", "--source", "a count")
    third = told("next", "1", "--write", "Who counted?", "--move", "ground")
    assert third["question"] == "Who counted?"
    tree = told("show", "1")
    assert [(q["number"], q["parent"], q["move"], q["source"]) for q in tree["questions"]] == [
        (1, None, None, "human"),
        (2, 1, "rebut", "model"),
        (3, 2, "ground", "human"),
    ]
    assert tree["questions"][1]["reason"] == "nobody doubted it yet"
    assert tree["at"] == 3
    root = told("show", "1", "--node", "1")
    assert [one["decision"] for one in root["questions"] if one["decision"]] == ["pick"]
    assert told("fork", "1", "--node", "2", "--set", "variants=2")["dialogue"] == 2
    both = told("compare", "1", "2")
    assert (both["1"]["questions"], both["2"]["questions"]) == (3, 2)
    assert told("pause", "2")["state"] == "paused"
    with pytest.raises(UsageError, match="paused"):
        CliRunner().invoke(app, ["dialogue", "next", "2"], catch_exceptions=False)
    assert told("resume", "2")["state"] == "open"
    for kind in ("md", "html", "json"):
        target = tmp_path / f"town.{kind}"  # town.html, and so on
        q2q("export", "1", "--format", kind, "--to", str(target))
        text = target.read_text("utf-8")
        assert "nobody doubted it yet" in text
        assert "Who counted?" in text
    with pytest.raises(UsageError, match="cannot be written"):
        CliRunner().invoke(
            app, ["dialogue", "export", "1", "--to", str(target)], catch_exceptions=False
        )


def test_turns_run_by_themselves_and_a_replay_stands_beside_them(theme: str) -> None:
    told("new", theme)
    done = told("next", "1", "--auto", "2")
    assert (done["turns"], done["node"]) == (2, 3)
    assert [q["automatic"] for q in told("show", "1")["questions"]] == [False, True, True]
    replay = told("replay", "1", "--role", "logician")
    assert [bool(line["before"]) for line in replay["lines"]] == [True, True, False]
    assert all(len(line["after"]) == 1 for line in replay["lines"])


def test_people_read_plain_lines(theme: str) -> None:
    assert "To go on: q2q dialogue next 1" in q2q("new", theme).stderr
    shown = q2q("next", "1").stderr
    assert "A: You should" in shown
    assert "q2q dialogue next 1 --answer A" in shown
    asked = q2q("next", "1", "--answer", "A").stderr
    assert "1. [" in asked
    assert "q2q dialogue next 1 --question 1" in asked
    q2q("next", "1", "--question", "1")
    assert "> " in q2q("show", "1").stdout
    assert "A town without cars" in q2q("show").stdout
    assert q2q("show", "1", "--node", "1").stdout.startswith("1. What changes")


def test_a_step_past_its_deadline_ends_by_itself_and_nothing_chosen_is_lost(
    theme: str, fake_server: FakeServer
) -> None:
    told("new", theme, "--set", "turn_timeout_s=0.5")
    told("next", "1")
    fake_server.default = "stall"
    stopped = CliRunner().invoke(app, ["dialogue", "next", "1", "--answer", "A"])
    assert isinstance(stopped.exception, Q2QError)
    assert stopped.stderr.count("It took longer than 0.5 s") == 1
    node = told("show", "1", "--node", "1")
    assert node["chosen"] is not None
    assert node["step"] == "ask"
    assert node["problems"][0].startswith("It took longer than 0.5 s and was stopped")
    fake_server.default = "ok"
    assert told("next", "1")["step"] == "pick"


def test_what_cannot_be_is_one_sentence(theme: str, fake_server: FakeServer) -> None:
    told("new", theme)
    for words, sentence in (
        (["next", "one"], "no number of a dialogue"),
        (["next", "7"], "no dialogue 7"),
        (["show", "1", "--node", "9"], "no question 9"),
        (["new", theme, "--set", "variants"], "NAME=VALUE"),
        (["new", theme, "--set", "colour=red"], "colour"),
        (["export", "1", "--format", "pdf"], "no format 'pdf'"),
        (["replay", "1"], "Name what is to be another one"),
        (["fork", "1", "--node", "4"], "no question 4"),
    ):
        with pytest.raises(UsageError, match=sentence):
            CliRunner().invoke(app, ["dialogue", *words], catch_exceptions=False)
    assert len(told("next", "1")["answers"]) == 3
    fake_server.text = fake_text
    with pytest.raises(Q2QError, match="Nothing came"):
        CliRunner().invoke(app, ["dialogue", "next", "1", "--answer", "A"], catch_exceptions=False)
    fake_server.text = asking
    assert told("next", "1")["step"] == "pick"
