"""``q2q dialogue`` from a theme to a report, through the worker and a server that is a fake."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from db.database import Database
from db.dialogues import has_ended, read_events, read_nodes
from db.errors import Q2QError, UsageError
from db.jobs import get_job, request_cancel
from db.settings import Settings
from serving.formats.library import load_definitions, sync_definitions
from tests.fakes.server import FakeServer, fake_text
from tests.unit.dialogue_lab import THEME, asking
from workbench.cli.main import app
from workbench.dialogue.decisions import go_to
from workbench.dialogue.events import By, current_node_id
from workbench.dialogue.lifecycle import set_settings
from workbench.dialogue.turn import answer


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
    theme: str, fake_server: FakeServer, database: Database
) -> None:
    def limit(seconds: float) -> None:
        with database.write() as session:
            set_settings(session, 1, {"turn_timeout_s": seconds}, By())

    told("new", theme)
    told("next", "1")
    limit(0.5)
    fake_server.default = "stall"
    stopped = CliRunner().invoke(app, ["dialogue", "next", "1", "--answer", "A"])
    assert isinstance(stopped.exception, Q2QError)
    assert stopped.stderr.count("It took longer than 0.5 s") == 1
    node = told("show", "1", "--node", "1")
    assert node["chosen"] is not None
    assert node["step"] == "ask"
    assert node["problems"][0].startswith("It took longer than 0.5 s and was stopped")
    fake_server.default = "ok"
    limit(300)
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


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(app, ["dialogue", *words], catch_exceptions=False)
    assert error.value.exit_code == 2
    return str(error.value)


def test_nothing_is_stored_of_a_turn_that_is_refused(theme: str, database: Database) -> None:
    told("new", theme)
    told("next", "1")
    told("next", "1", "--answer", "A")
    with database.read() as session:
        before = read_events(session, 1)
    fact = ("--fact", "41 % came by car")
    for words, sentence in (
        ((*fact, "--hint", "\n"), "reasoning is empty"),
        ((*fact, "--hint", "x" * 200_001), "characters"),
        ((*fact, "--write", " "), "needs a text"),
        ((*fact, "--move", "dance"), "no move 'dance'"),
        ((*fact, "--move", "gap", "--move", "gap"), "named twice"),
        ((*fact, "--answer", "foo"), "no answer 'foo'"),
        ((*fact, "--reason", "x" * 600), "The reason has 600 characters"),
        ((*fact, "--source", "x" * 600), "The source has 600 characters"),
        (("--source", "a count"), "--fact beside --source"),
        (("--answer", "A", "--question", "99"), "There is no question '99'"),
        (("--answer", "A", "--question", "1", "--write", " "), "needs a text"),
        (("--answer", "B", "--write", " "), "needs a text"),
        (("--answer", "Z", "--edit", "You should."), "There is no answer 'Z'"),
        (("--write", "Who?", "--move", "gap", "--move", "ground"), "one move"),
    ):
        assert sentence in refused("next", "1", *words), words
    with database.read() as session:
        assert read_events(session, 1) == before
    assert told("show", "1", "--node", "1")["context"] in ("", None)


def test_a_step_that_was_left_is_told_by_show_and_stored_by_the_next_command(
    theme: str, database: Database
) -> None:
    told("new", theme)
    told("next", "1")
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        step = answer(session, registry, 1, read_nodes(session, 1)[0].id, By())
        request_cancel(session, step.job_id)
        before = len(read_events(session, 1))
    under_way = [{"step": "answer", "job": step.job_id, "state": "cancelled"}]
    assert told("show", "1")["under_way"] == under_way
    assert told("show", "1", "--node", "1")["under_way"] == under_way
    assert "Under way: answer" in q2q("show", "1").stderr
    with database.read() as session:
        assert len(read_events(session, 1)) == before, "show only reads"
    assert told("next", "1", "--answer", "A")["step"] == "pick"
    with database.read() as session:
        assert has_ended(session, step.event_id)
    assert told("show", "1")["under_way"] == []


def test_names_that_are_not_there_are_refused_before_anything_is_stored(theme: str) -> None:
    for words, sentence in (
        (("--model", "typo"), "no model 'typo'"),
        (("--set", "model=typo"), "no model 'typo'"),
        (("--set", "prompt_format=typo"), "no prompt format 'typo'"),
        (("--set", "ask_format=typo"), "no prompt format 'typo'"),
        (("--set", "role=typo"), "no role 'typo'"),
    ):
        assert sentence in refused("new", theme, *words), words
    assert told("show") == []
    told("new", theme)
    for words in (("model=typo",), ("prompt_format=typo",)):
        assert "typo" in refused("fork", "1", "--node", "1", "--set", *words)
    assert len(told("show")) == 1


def test_options_that_would_stay_unread_are_refused_with_both_names(theme: str) -> None:
    told("new", theme)
    told("next", "1")
    one_by_one = (
        ("--answer", "A"),
        ("--question", "1"),
        ("--write", "Who?"),
        ("--edit", "You should."),
        ("--hint", "You should."),
        ("--fact", "41 %"),
        ("--more",),
        ("--reason", "so"),
    )
    for other in one_by_one:
        said = refused("next", "1", "--auto", "2", *other)
        assert f"Give --auto and {other[0]} one after the other" in said
    for other in (*one_by_one[1:3], *one_by_one[4:], ("--move", "gap")):
        said = refused("next", "1", "--edit", "You should.", *other)
        assert f"Give --edit and {other[0]} one after the other" in said
    assert told("next", "1", "--auto", "1", "--move", "gap")["turns"] == 1


def test_a_fact_stops_at_the_answers_that_were_written_with_it(
    theme: str, database: Database
) -> None:
    told("new", theme)
    told("next", "1")
    told("next", "1", "--answer", "A")
    found = told("next", "1", "--fact", "41 % came by car")
    with database.read() as session:
        assert len(read_events(session, 1, kinds=("ask",))) == 1
    assert [one["letter"] for one in found["answers"]][:3] == ["A", "B", "C"]
    assert not any(one["chosen"] for one in found["answers"][:3])


def test_before_the_first_answer_there_is_nothing_to_edit_or_set_aside(theme: str) -> None:
    told("new", theme)
    assert "no answer here yet" in refused("next", "1", "--edit", "You should.")
    assert "No question is proposed here yet" in refused("park", "1", "--question", "1")


def test_a_step_tells_where_its_texts_are_if_the_dialogue_went_on_elsewhere(
    theme: str, database: Database, fake_server: FakeServer
) -> None:
    told("new", theme)
    told("next", "1")
    told("next", "1", "--answer", "A", "--write", "Who counted?")
    with database.read() as session:
        first, second = read_nodes(session, 1)

    def going_back(prompt: str, choice_index: int, seed: int | None) -> str:
        with database.write() as session:
            if current_node_id(read_events(session, 1)) == second.id:
                go_to(session, 1, first.id, By())
        return asking(prompt, choice_index, seed)

    fake_server.text = going_back
    said = refused("next", "1")
    assert "went on at question 1 meanwhile; what came is at question 2." in said
    assert "q2q dialogue go 1 --node 2" in said
    fake_server.text = asking
    told("go", "1", "--node", "2")
    assert len(told("next", "1", "--answer", "C")["answers"]) == 3


def test_a_step_whose_job_goes_on_is_one_sentence(
    theme: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told("new", theme)
    told("next", "1")

    def still_running(settings: Settings, store: Database, job_id: int, *_: Any, **__: Any) -> Any:
        with store.read() as session:
            return get_job(session, job_id)

    monkeypatch.setattr("workbench.cli.dialogue_steps.watch_job", still_running)
    for words in (("next", "1", "--more"), ("translate", "1", "--to", "ja")):
        with pytest.raises(Q2QError, match="still at it"):
            CliRunner().invoke(app, ["dialogue", *words], catch_exceptions=False)


def test_names_reasons_and_languages_are_one_short_line(theme: str, tmp_path: Path) -> None:
    told("new", theme, "--name", " two\nlines ")
    told("new", theme, "--name", "\n")
    assert sorted(one["name"] for one in told("show")) == [THEME["name"], "two lines"]
    long, half = "x" * 600, "caf\udce9"
    sheet = tmp_path / "s.csv"
    sheet.write_text("Goal,QInitial\nQuiet,Why?\n", "utf-8")
    for words, sentence in (
        (("new", theme, "--name", long), "The name has 600 characters"),
        (("new", theme, "--name", half), "The name holds half a character"),
        (("fork", "1", "--node", "1", "--name", long), "The name has 600"),
        (("fork", "1", "--node", "1", "--reason", half), "The reason holds half"),
        (("pause", "1", "--reason", long), "The reason has 600"),
        (("tag", "1", long), "The tag has 600"),
        (("note", "1", "x" * 200_001), "The note has 200,001"),
        (("import", str(sheet), "--language", "日本"), "'日本' is no language"),
        (("translate", "1", "--to", "日本"), "'日本' is no language"),
    ):
        assert sentence in refused(*words), words
    assert [one["state"] for one in told("show")] == ["open", "open"]
    assert told("import", str(sheet), "--language", "JA")[0]["is_new"]
    assert told("show", "3")["theme"]["language"] == "ja"


def test_what_is_shown_of_nothing_of_one_and_as_json(theme: str) -> None:
    empty = q2q("show")
    assert (empty.stdout, "To begin one: q2q dialogue new" in empty.stderr) == ("", True)
    assert told("show") == []
    told("new", theme)
    assert "beside itself" in refused("compare", "1", "d1")
    assert told("export", "1")["text"].startswith(f"# {THEME['name']}")
    assert told("export", "1", "--format", "json")["name"] == THEME["name"]
