"""What commands print: results on stdout, everything else on stderr."""

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from db.errors import UsageError
from db.identity import number_in

Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, for machines.")]
"""The option that every command has; ``one_document`` keeps what it promises."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What steers a terminal, or puts text that follows in another order than it is stored."""


class _Results:
    """The JSON result of the command that runs, held back until it is known how it ends."""

    def __init__(self) -> None:
        self.holds = False
        """A command with ``--json`` runs."""
        self.text: str | None = None
        """Its result; None while there is none."""


_results = _Results()


@contextmanager
def one_document() -> Iterator[None]:
    """Hold back what ``show_json`` gets, and write it if the block succeeds.

    Where it fails, ``show_failure`` writes an object with the error, and the result beside it.
    """
    _results.holds, _results.text = True, None
    try:
        yield
    finally:
        _results.holds = False
    if _results.text is not None:
        sys.stdout.write(f"{_results.text}\n")


def show_failure(sentence: str, *, as_json: bool, is_said: bool = False) -> None:
    """Say why a command failed; with ``--json`` also as ``{"error": …}`` on stdout."""
    if not is_said:
        inform(sentence)
    if as_json:
        error = json.dumps(sentence, ensure_ascii=_is_narrow())
        result = "" if _results.text is None else f', "result": {_results.text}'
        sys.stdout.write(f'{{"error": {error}{result}}}\n')


def complete_streams() -> None:
    """Make stdin, stdout and stderr usable whatever the caller gave: closed, or in ASCII.

    A closed one would be given to the next file that is opened, which may be the store; nothing
    written there appears anywhere. A letter that the encoding lacks is written as its number.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def safe(text: str) -> str:
    """Return ``text`` with what steers a terminal or reorders a line named; its lines stay."""
    return _UNSAFE.sub(lambda mark: mark[0] if mark[0] in "\n\t" else _named(mark), text)


def inform(line: str) -> None:
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
    """Write the result as one JSON value to stdout, once the command has succeeded."""
    text = json.dumps(_plain(value), ensure_ascii=_is_narrow(), indent=2)
    _write_result(text)


def show_done(sentence: str, value: object, as_json: bool) -> None:
    """Say what was done; or show it as JSON."""
    if as_json:
        show_json(value)
    else:
        show(sentence)


def show_result(fields: Mapping[str, object], as_json: bool) -> None:
    """Show one thing by its fields."""
    if as_json:
        show_json(fields)
    else:
        show_fields(fields)


def show_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str], as_json: bool) -> None:
    """Show things: in a table with some columns, as JSON with all."""
    if as_json:
        show_json(rows)
    else:
        show_table(rows, columns)


def show_json_rows(rows: Iterable[Mapping[str, object]]) -> int:
    """Write rows as one JSON array, a row a line; return how many there were."""
    narrow = _is_narrow()
    lines = [json.dumps(row, ensure_ascii=narrow, default=str) for row in rows]
    text = "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"
    _write_result(text)
    return len(lines)


def _write_result(text: str) -> None:
    if _results.holds:
        _results.text = text
    else:
        sys.stdout.write(f"{text}\n")


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


def _is_narrow() -> bool:
    """Say whether stdout takes other letters only as numbers, which would be no JSON."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"


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


def parse_id(given: str, what: str) -> int:
    """Return the id that a person gave, with or without the letter of its kind.

    Raises:
        UsageError: It is none.
    """
    found = number_in(given, f"{what[0]}?")
    if found is None:
        raise UsageError(
            "{given!r} is no number of a {what}; `q2q {what} list` shows them all.",
            given=given,
            what=what,
        )
    return found
