"""A file on its way in: its bytes, its records, and what is wrong with them."""

import io
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from db.errors import UsageError
from serving.importers.fields import plain_name


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a row, or the file where ``line`` is None, from being imported."""

    line: int | None
    field: str | None
    sentence: str
    """Names file, line and field, and says what to do."""


def problem_at(name: str, unit: str, line: int | None, column: str | None, what: str) -> Problem:
    """Return a problem whose sentence begins with its place."""
    place = name if line is None else f"{name}, {unit} {line}"
    if column:
        place += f", field {column!r}"
    return Problem(line, column, f"{place}: {what}")


@dataclass(frozen=True, slots=True)
class Record:
    """A row as the file holds it, before its fields are understood."""

    line: int
    values: Mapping[str, Any]


@dataclass(slots=True)
class Source:
    """A file on its way in: what it is called, what its lines are called, what was found."""

    name: str
    unit: str = "line"
    """``line``, ``row`` (tables) or ``item`` (lists)."""
    encoding: str = "utf-8"
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    """Names of columns that an earlier one has as well; only the last one's values are kept."""
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Column → what the numbers 0, 1, … in it stand for, where the file says so."""
    done: int = 0
    """How much has been read, of ``total``: bytes, or rows where a table counts its rows."""
    total: int = 0

    def refuse(self, line: int | None, column: str | None, what: str) -> None:
        """Add a problem; ``what`` says what is wrong and what to do."""
        self.problems.append(problem_at(self.name, self.unit, line, column, what))

    def refuse_file(self, line: int, what: str) -> None:
        """Add a problem at a line because of which nothing of the file can be imported."""
        sentence = problem_at(self.name, self.unit, line, None, what).sentence
        self.problems.append(Problem(None, None, sentence))


class ImportRefused(UsageError):
    """A file has problems and nothing of it was used; all of them are in ``problems``."""

    def __init__(self, problems: Sequence[Problem], remedy: str) -> None:
        shown = [problem.sentence for problem in problems[:10]]
        if len(problems) > len(shown):
            shown.append(f"… and {len(problems) - len(shown)} more problems.")
        super().__init__("\n".join([*shown, remedy]))
        self.problems = tuple(problems)


def header_of(cells: Sequence[Any]) -> list[str]:
    """Return the names of a table's columns; empty where one has none."""
    return ["" if cell is None else str(cell).strip().lstrip("\ufeff") for cell in cells]


def repeated_names(columns: Iterable[str]) -> list[str]:
    """Return the names that an earlier column has as well, in whichever spelling."""
    seen: set[str] = set()
    repeated = []
    for column in filter(None, columns):
        name = plain_name(column)
        if name in seen:
            repeated.append(column)
        seen.add(name)
    return repeated


MAX_UNPACKED_BYTES = 1 << 30
"""An XLSX file, or a row group of a Parquet file, that unpacks to more is refused."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds; opened as often as it takes, and never held whole where it is on disk."""

    name: str
    given: Path | bytes
    n_bytes: int

    def open(self) -> BinaryIO:
        """Return the bytes from their beginning; the caller closes them."""
        if isinstance(self.given, bytes):
            return io.BytesIO(self.given)
        return self.given.open("rb", buffering=_CHUNK_BYTES)

    def open_text(self, encoding: str, newline: str | None = None) -> TextIO:
        """Return the text from its beginning; closing it closes the bytes as well."""
        return io.TextIOWrapper(self.open(), encoding=encoding, newline=newline)


def content_of(given: Path | bytes, name: str, max_bytes: int) -> Content:
    """Return what ``given`` holds.

    Raises:
        UsageError: There is no such file, it is too large or empty, or it is no file.
    """
    try:
        n_bytes = len(given) if isinstance(given, bytes) else _size_of(given)
        content = Content(name, given, n_bytes)
        with content.open() as file:
            is_empty = not any(chunk.strip() for chunk in iter(lambda: file.read(1 << 16), b""))
    except OSError as error:
        raise UsageError(
            f"{given!s}: cannot be read ({error.strerror}); check the path."
        ) from error
    if n_bytes > max_bytes:
        raise UsageError(
            f"{name}: has {n_bytes >> 20} MiB; at most {max_bytes >> 20} MiB are taken. "
            "Split it into several files."
        )
    if is_empty:
        raise UsageError(f"{name}: the file is empty; give a file with at least one question.")
    return content


def _size_of(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path}: is no file but a pipe or a device; write it to a file first.")
    return found.st_size


def position(stream: TextIO) -> int:
    """Return how many bytes of a text have been read."""
    return stream.buffer.tell()


def unreadable(name: str, kind: str) -> UsageError:
    """Return that a file is not what its name says."""
    return UsageError(
        f"{name}: this is not a readable {kind} (damaged, protected by a password, or of another "
        "kind); save it again, or as CSV in UTF-8."
    )


def too_large(name: str, n_bytes: int) -> UsageError:
    """Return that a file unpacks to too much."""
    return UsageError(
        f"{name}: unpacks to {n_bytes / 2**30:.1f} GiB; at most "
        f"{MAX_UNPACKED_BYTES / 2**30:.0f} GiB are taken. Split it into several files."
    )
