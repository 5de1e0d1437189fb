"""A file on its way in: its bytes, its records, and what is wrong with them."""

import io
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from db.errors import UsageError
from db.messages import Message
from serving.importers.fields import plain_name
from serving.importers.parsed_row import Scope


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a row, or the file where ``line`` is None, from being imported."""

    line: int | None
    field: str | None
    sentence: str
    """Names file, line and field, and says what to do."""


_PLACES = {
    (True, False): "{name}, {unit} {n}",
    (False, True): "{name}, field {column!r}",
    (True, True): "{name}, {unit} {n}, field {column!r}",
}


def problem_at(name: str, unit: str, line: int | None, column: str | None, what: str) -> Problem:
    """Return a problem whose sentence begins with its place."""
    template = _PLACES.get((line is not None, bool(column)))
    place = Message(template, name=name, unit=unit, n=line, column=column) if template else name
    said = what if isinstance(what, Message) else Message(what)
    return Problem(line, column, Message("{place}: {what}", place=place, what=said))


@dataclass(frozen=True, slots=True)
class Record:
    """A row as the file holds it, before its fields are understood."""

    line: int
    values: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)  # not frozen, which would take three times as long to make
class ImportRow:
    """A question as a file gives it, with what was written for it and what was judged of that."""

    line: int
    """Line of a text file, row of a table, item of a list; from 1."""
    text: str
    context: str = ""
    reference_answer: str | None = None
    answer_check: str | None = None
    """How answers are compared with it; see ``serving.correctness``."""
    reasoning: str | None = None
    output: str | None = None
    role: str = "assistant"
    category: str | None = None
    language: str | None = None
    tags: tuple[str, ...] = ()
    external_id: str | None = None
    held_out: bool | None = None
    fields: str | None = None
    """What no field of ours has: column → value, as a JSON object."""
    rejected: "ImportRow | None" = None
    """The same question with the texts that are worse."""
    label: bool | None = None
    """OK or not OK."""
    scope: Scope = "answer"
    """What is compared or judged; of the others, what is to be learned."""
    is_raw: bool = False
    """Its prompt was the question alone, with the context after a blank line if it has one."""

    @property
    def is_judged(self) -> bool:
        """Whether something is said of its texts: better, worse, OK, or not."""
        return self.rejected is not None or self.label is not None


@dataclass(slots=True)
class ImportFile:
    """A file on its way in: its bytes, its records and rows, and what was found.

    It is opened as often as it takes, and never held whole where it is on disk. Problems, notes and
    columns are complete once all records or rows were taken.
    """

    name: str
    given: Path | bytes = b""
    used: Collection[str] | None = None
    """Names of the columns that matter, as ``plain_name`` has them; None: all do."""
    unit: str = "line"
    """``line``, ``row`` (tables) or ``item`` (lists)."""
    encoding: str = "utf-8"
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the reader did without being asked, e.g. which columns it did not use."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Why rows are not imported though nothing is wrong with them → how many."""
    columns: list[str] = field(default_factory=list)
    """Those met so far, in the order in which they first occur."""
    repeated: list[str] = field(default_factory=list)
    """Names of columns that an earlier one has as well; only the last one's values are kept."""
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Column → what the numbers 0, 1, … in it stand for, where the file says so."""
    done: int = 0
    """How much has been read, of ``total``: bytes, or rows where a table counts its rows."""
    total: int = 0
    records: Iterator[Record] = field(default_factory=lambda: iter(()))
    """Read as they are asked for, before any field is understood."""
    rows: Iterable[ImportRow] = ()
    """What the records are; read as they are asked for."""

    @property
    def suffix(self) -> str:
        """What kind of file its name says that it is."""
        return Path(self.name).suffix.lower()

    def uses(self, column: str) -> bool:
        """Tell whether a column matters."""
        return self.used is None or plain_name(column) in self.used

    def refuse(self, line: int | None, column: str | None, what: str) -> None:
        """Add a problem; ``what`` says what is wrong and what to do."""
        self.problems.append(problem_at(self.name, self.unit, line, column, what))

    def refuse_file(self, line: int, what: str) -> None:
        """Add a problem at a line because of which nothing of the file can be imported."""
        sentence = problem_at(self.name, self.unit, line, None, what).sentence
        self.problems.append(Problem(None, None, sentence))

    def open(self) -> BinaryIO:
        """Return the bytes from their beginning; the caller closes them."""
        if isinstance(self.given, bytes):
            return io.BytesIO(self.given)
        return self.given.open("rb", buffering=_CHUNK_BYTES)

    def open_text(self, newline: str | None = None) -> TextIO:
        """Return the text from its beginning; closing it closes the bytes as well."""
        return io.TextIOWrapper(self.open(), encoding=self.encoding, newline=newline)

    def measure(self, max_bytes: int) -> None:
        """Set ``total`` to the number of bytes.

        Raises:
            UsageError: There is no such file, it is too large or empty, or it is no file.
        """
        try:
            given = self.given
            self.total = len(given) if isinstance(given, bytes) else _size_of(given)
            with self.open() as file:
                is_empty = not any(chunk.strip() for chunk in iter(lambda: file.read(1 << 16), b""))
        except OSError as error:
            raise UsageError(
                "{given!s}: cannot be read ({error}); check the path.",
                given=self.given,
                error=error.strerror,
            ) from error
        if self.total > max_bytes:
            raise UsageError(
                "{name}: has {total} MiB; at most {max_bytes} MiB are taken."
                " Split it into several files.",
                name=self.name,
                total=self.total >> 20,
                max_bytes=max_bytes >> 20,
            )
        if is_empty:
            raise UsageError(
                "{name}: the file is empty; give a file with at least one question.", name=self.name
            )


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


def _size_of(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise UsageError(
            "{path}: is no file but a pipe or a device; write it to a file first.", path=path
        )
    return found.st_size


def position(stream: TextIO) -> int:
    """Return how many bytes of a text have been read."""
    return stream.buffer.tell()


def unreadable(name: str, kind: str) -> UsageError:
    """Return that a file is not what its name says."""
    return UsageError(
        "{name}: this is not a readable {kind} (damaged, protected by a password, or of another "
        "kind); save it again, or as CSV in UTF-8.",
        name=name,
        kind=kind,
    )


def too_large(name: str, n_bytes: int) -> UsageError:
    """Return that a file unpacks to too much."""
    return UsageError(
        "{name}: unpacks to {n_bytes:.1f} GiB; at most "
        "{max_unpacked_bytes:.0f} GiB are taken. Split it into several files.",
        name=name,
        n_bytes=n_bytes / 2**30,
        max_unpacked_bytes=MAX_UNPACKED_BYTES / 2**30,
    )
