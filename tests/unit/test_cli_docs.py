"""docs/cli.md and the commands agree: neither names something that the other lacks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.command_tree import whole_tree
from workbench.cli.main import COMMANDS, app

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
DOCUMENTED = re.findall(r"^\| `q2q ([a-z -]+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)


def _commands(group: object, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def test_every_command_is_documented() -> None:
    assert sorted(_commands(whole_tree())) == sorted(DOCUMENTED)


def test_help_has_the_first_sentence_of_each_command() -> None:
    told = {name: command.help.split("\n\n")[0] for name, command in whole_tree().commands.items()}
    assert told == {name: one.summary for name, one in COMMANDS.items()}


@pytest.mark.parametrize("command", DOCUMENTED)
def test_every_documented_command_has_help_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    assert shown.exit_code == 0
    assert re.search(rf"^ +q2q {command}", shown.output, re.MULTILINE), shown.output
    assert "--json" in shown.output or command in ("up", "setup", "worker run")


def test_unknown_commands_and_options_are_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["dance"]).exit_code == 2
    assert CliRunner().invoke(app, ["sweep", "run"]).exit_code == 2
    assert CliRunner().invoke(app, ["up", "--port", "0"]).exit_code == 2
