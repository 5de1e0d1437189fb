"""A file on its way in: its records, and the one sentence-maker for what is wrong with them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
