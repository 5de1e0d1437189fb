"""The command tree: what is typed in scripts and notebooks today can be typed tomorrow.

After a change that is meant:

    WRITE_SNAPSHOTS=1 python -m pytest tests/contract/test_command_tree.py
"""

import re
from enum import EnumType
from pathlib import Path
from typing import Any

from tests.command_tree import whole_tree
from tests.contract.snapshots import check_snapshot, compare

CLI_PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def tree(group: Any) -> dict[str, Any]:
    return {
        name: tree(command) if hasattr(command, "commands") else described(command)
        for name, command in sorted(group.commands.items())
    }


def described(command: Any) -> dict[str, Any]:
    """Return what may follow a command: arguments in order, options by name, exit codes."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    exit_codes = re.findall(r"Exit code [^.]*\.", " ".join((command.help or "").split()))
    return {
        "arguments": {
            f"{place} {(one.metavar or one.display_name_raw).upper()}": parameter(one)
            for place, one in enumerate(arguments, 1)
        },
        "options": {
            "/".join([*one.opts, *one.secondary_opts]): parameter(one)
            for one in sorted(options, key=lambda one: one.opts)
        },
        "hidden": command.hidden,
        "exit codes": exit_codes,
    }


def parameter(one: Any) -> dict[str, Any]:
    """Return what a parameter takes; what is not said is false or none."""
    kind = one.type_descriptor.annotation
    default = one.default() if callable(one.default) else one.default
    found = {
        "type": kind.__name__ if isinstance(kind, type) else str(kind),
        "choices": [each.value for each in kind] if isinstance(kind, EnumType) else [],
        "least": one.min,
        "most": one.max,
        "required": one.required,
        "multiple": one.multiple or one.nargs == -1,
        "flag": getattr(one, "is_flag", False),
        "hidden": one.hidden,
        "environment": one.envvar,
        "default": default if isinstance(default, str | int | float | None) else str(default),
    }
    return {key: value for key, value in found.items() if value not in (None, False, [])}


def test_commands_with_their_arguments_and_options_are_those_of_the_snapshot() -> None:
    (exit_codes,) = re.findall(r"^- Exit codes: (.*)", CLI_PAGE.read_text("utf-8"), re.MULTILINE)
    root: Any = whole_tree()
    check_snapshot("command_tree", {"exit codes": exit_codes, "q2q": tree(root)})


def test_a_difference_is_told_in_plain_words() -> None:
    old = {"sweep": {"run": {"options": {"--json": {"flag": True}, "--limit": {"default": 50}}}}}
    new = {"sweep": {"run": {"options": {"--limit": {"default": 20}}}, "go": {}}}
    assert list(compare(old, new)) == [
        '- missing: sweep › run › options › --json (was {"flag": true})',
        "- changed: sweep › run › options › --limit › default: was 50, is 20",
        "- new: sweep › go = {}",
    ]
