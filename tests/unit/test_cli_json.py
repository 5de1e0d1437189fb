"""What every command promises to programs: one JSON value on stdout, whatever happens.

All commands are walked, each on an empty home, with what a program may give: nothing that is
there, ids of nothing, files that are not there.
"""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.settings import settings
from tests.command_tree import whole_tree
from workbench.cli import main
from workbench.cli.output import show_json

GIVEN = {
    "dialogue": "999",
    "other": "998",
    "sweep": "999",
    "run": "999",
    "name": "nothing",
    "model": "nothing",
    "adapter": "nothing",
    "item": "a999",
    "question": "999",
    "job": "999",
    "reference": "q999",
    "text": "words",
    "language": "xx",
    "kept": "1",
    "url": "http://127.0.0.1:9/v1",
}
"""Values of required arguments; others get the path of a file that is not there."""


def commands(group: Any = None, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the names of every command that has ``--json``."""
    for name, command in (group or whole_tree()).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        elif any("--json" in parameter.opts for parameter in command.params):
            yield (*prefix, name)


def required(words: tuple[str, ...], home: Path) -> list[str]:
    """Return a value for each thing that a command asks for."""
    command: Any = whole_tree()
    for word in words:
        command = command.commands[word]
    given: list[str] = []
    for parameter in command.params:
        if not parameter.required:
            continue
        value = GIVEN.get(parameter.name, str(home / "not_there.yaml"))
        option = next((opt for opt in parameter.opts if opt.startswith("-")), None)
        given += [value] if option is None else [option, value]
    return given


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run ``q2q`` as its program does; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["q2q", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main.run()
    return int(ended.value.code or 0)


def check(code: int, out: str, err: str) -> None:
    """One JSON value; an object with one sentence where it failed; never a bug."""
    told = json.loads(out)
    assert "bug" not in err
    if code:
        assert code in (1, 2)
        assert set(told) <= {"error", "result"}
        assert isinstance(told["error"], str)
        assert told["error"].strip()
    else:
        assert not isinstance(told, dict) or "error" not in told


@pytest.fixture
def empty_store(home: Path, migrated_file: Path) -> None:
    """The store as the first command makes it; that it does is shown in ``test_empty_home``."""
    home.mkdir()
    shutil.copy(migrated_file, home / "q2q.sqlite")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """No command starts a model server or a training here."""

    def refuse(*_: object, **__: object) -> None:
        from db.errors import Q2QError

        raise Q2QError("There is no device for that here.")

    monkeypatch.setattr("workbench.worker._work_until_ended", refuse)
    settings.cache_clear()


WALKED = list(commands())


def test_there_are_commands_to_walk() -> None:
    assert len(WALKED) > 40


@pytest.mark.parametrize("words", WALKED, ids=" ".join)
def test_on_an_empty_home_every_command_writes_one_json_value(
    words: tuple[str, ...],
    empty_store: None,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = run(monkeypatch, *words, *required(words, home), "--json")
    check(code, *capfd.readouterr())


@pytest.mark.parametrize("words", WALKED, ids=" ".join)
def test_wrong_usage_is_a_json_value_too(
    words: tuple[str, ...],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = run(monkeypatch, *words, "--no-such-option", "--json")
    out, err = capfd.readouterr()
    assert code == 2
    check(code, out, err)


@pytest.mark.parametrize(
    "words", [("sweep", "list"), ("question", "list"), ("question", "export"), ("rate", "export"),
              ("dataset", "show"), ("dialogue", "show"), ("train", "list"), ("round", "list"),
              ("model", "list"), ("rate", "queue")], ids=" ".join,
)  # fmt: skip
def test_an_empty_list_is_written(
    words: tuple[str, ...],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *words, "--json") == 0
    assert json.loads(capfd.readouterr().out) == []


def test_a_failure_after_a_result_holds_both(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home.mkdir(exist_ok=True)
    (home / "r.csv").write_text("axis,value\nclarity,7\n", "utf-8")
    assert run(monkeypatch, "rate", "import", str(home / "r.csv"), "--json") == 2
    told = json.loads(capfd.readouterr().out)
    assert told["error"].startswith("Nothing was imported")
    assert told["result"]["problems"]


def test_an_export_of_another_form_needs_a_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "rate", "export", "--format", "csv", "--json") == 2
    assert json.loads(capfd.readouterr().out)["error"].startswith("--json prints JSON; give csv")
    target = home / "ratings.csv"
    words = ("rate", "export", "--format", "csv", "--to", str(target), "--json")
    assert run(monkeypatch, *words) == 0
    assert json.loads(capfd.readouterr().out) == {"file": str(target), "rows": 0}


def test_without_a_command_results_are_written_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    show_json([1])
    assert json.loads(capsys.readouterr().out) == [1]
