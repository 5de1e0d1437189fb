"""What commands print: results on stdout, everything else on stderr."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, for machines.")]
"""The option that every command has."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What steers a terminal, or puts text that follows in another order than it is stored."""


def safe(text: str) -> str:
    """Return ``text`` with what steers a terminal or reorders a line named; its lines stay."""
    return _UNSAFE.sub(lambda mark: mark[0] if mark[0] in "\n\t" else _named(mark), text)


def say(line: str) -> None:
    """Write a line for people to stderr."""
    sys.stderr.write(f"{safe(line)}\n")
    sys.stderr.flush()


def show(line: str) -> None:
    """Write a line of the result to stdout, for people."""
    sys.stdout.write(f"{safe(line)}\n")


def show_exactly(text: str) -> None:
    """Write a text to stdout as it is, for whoever reads the pipe; on a terminal as ``show``."""
    sys.stdout.write(f"{safe(text) if sys.stdout.isatty() else text}\n")


def show_json(value: object) -> None:
    """Write the result as one JSON value to stdout."""
    sys.stdout.write(f"{json.dumps(_plain(value), ensure_ascii=False, indent=2)}\n")


def show_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Write rows in aligned columns, with a header; numbers to the right."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [
        max(len(column), *(len(line[i]) for line in cells), 0) for i, column in enumerate(columns)
    ]
    numeric = [
        bool(rows) and all(isinstance(row.get(column), int | float | None) for row in rows)
        for column in columns
    ]
    for line in [[column.replace("_", " ") for column in columns], *cells]:
        parts = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        show("  ".join(parts).rstrip())


def show_fields(fields: Mapping[str, object]) -> None:
    """Write names and values, one a line; what is empty is left out."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if value is not None and value != "" and value != ():
            show(f"{name.replace('_', ' ').ljust(width)}  {_cell(value)}")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return _UNSAFE.sub(_named, " ".join(str(value).split()))


def _named(mark: re.Match[str]) -> str:
    return f"<U+{ord(mark[0]):04X}>"


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value
