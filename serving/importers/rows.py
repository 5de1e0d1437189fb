"""One row of an imported file: the names of its columns, its limits, what is wrong with it."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from db.plain_text import plain, problem_of
from serving.importers.source import Problem, Record, Source

ALIASES: dict[str, tuple[str, ...]] = {
    "text": ("instruction", "question", "prompt", "text"),
    "context": ("input", "context"),
    "reference_answer": ("reference_answer", "reference", "expected"),
    "reasoning": ("reasoning",),
    "output": ("output", "answer", "response"),
    "role": ("flag", "role"),
    "category": ("category",),
    "language": ("language", "lang"),
    "tags": ("tags", "tag"),
    "external_id": ("external_id", "id", "custom_id"),
    "held_out": ("held_out",),
}
"""Field → names that its column may have, the first that a file has wins; case does not matter."""
COLUMN_NAMES = frozenset(name for names in ALIASES.values() for name in names)

_LANGUAGE = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)")
_TAG_BORDER = re.compile("[;；\n]")
_YES = frozenset({"true", "1", "yes"})
_NO = frozenset({"false", "0", "no"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """A question as a file gives it, with the reasoning and the answer that came with it."""

    line: int
    """Line of a text file, row of a table, item of a list; from 1."""
    text: str
    context: str = ""
    reference_answer: str | None = None
    reasoning: str | None = None
    output: str | None = None
    role: str = "assistant"
    category: str | None = None
    language: str | None = None
    tags: tuple[str, ...] = ()
    external_id: str | None = None
    held_out: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """What a file holds: good rows and, apart from them, what is wrong with the others."""

    name: str
    unit: str
    """What its lines are called: ``line``, ``row`` or ``item``."""
    rows: list[ImportRow]
    problems: list[Problem]
    encoding: str
    columns: list[str]
    notes: list[str]
    """What the reader did without being asked, e.g. which columns it did not use."""


def used_columns(columns: Sequence[str]) -> dict[str, list[str]]:
    """Return field → the columns that can fill it, the preferred one first."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(column.strip().casefold(), column)
    return {
        name: [by_name[alias] for alias in aliases if alias in by_name]
        for name, aliases in ALIASES.items()
    }


class RowMaker:
    """Turns records into rows; what is wrong with a record goes to the source's problems."""

    def __init__(self, source: Source, roles: Collection[str]) -> None:
        self.source = source
        self.roles = roles
        self.n_cleaned = 0
        self._names: tuple[str, ...] = ()
        self._columns = used_columns(())

    def row(self, record: Record, *, needs_text: bool = True) -> ImportRow | None:
        """Return the row of ``record``; None where it has a problem.

        Without ``needs_text`` a row may name its question in another way than by its text.
        """
        n_before = len(self.source.problems)
        self._know_columns(record)
        texts = {
            name: self._text(record, name)
            for name, columns in self._columns.items()
            if columns and name not in ("tags", "held_out")
        }
        if needs_text and not texts.get("text") and len(self.source.problems) == n_before:
            column = self._column(record, "text")
            self.source.refuse(
                record.line, column, "the question is empty; fill it in or remove the row."
            )
        role = self._role(record, texts.get("role"))
        language = self._language(record, texts.get("language"))
        tags = self._tags(record)
        held_out = self._held_out(record)
        if len(self.source.problems) > n_before:
            return None
        return ImportRow(
            line=record.line,
            text=texts.get("text") or "",
            context=texts.get("context") or "",
            reference_answer=texts.get("reference_answer"),
            reasoning=texts.get("reasoning"),
            output=texts.get("output"),
            role=role,
            category=texts.get("category"),
            language=language,
            tags=tags,
            external_id=texts.get("external_id"),
            held_out=held_out,
        )

    def _know_columns(self, record: Record) -> None:
        """Find the columns of this record; lines of one file may differ."""
        names = tuple(record.values)
        if names != self._names:
            self._names, self._columns = names, used_columns(names)

    def _column(self, record: Record, name: str) -> str | None:
        """Return the column that fills a field in this record."""
        present = self._columns[name]
        if len(present) < 2:
            return present[0] if present else None
        filled = (column for column in present if not is_blank(record.values[column]))
        return next(filled, present[0])

    def _text(self, record: Record, name: str) -> str | None:
        column = self._column(record, name)
        value = record.values[column] if column else None
        if is_blank(value):
            return None
        if isinstance(value, (dict, list, tuple, set)):
            kind = "an object" if isinstance(value, dict) else "a list"
            self.source.refuse(record.line, column, f"holds {kind}; give a text.")
            return None
        return self._clean(record, column, value)

    def _clean(self, record: Record, column: str | None, value: Any) -> str | None:
        if isinstance(value, float) and math.isinf(value):
            self.source.refuse(
                record.line, column, "holds a number without end; write it as a text in quotes."
            )
            return None
        text = written(value)
        problem = problem_of(text)
        if problem:
            self.source.refuse(record.line, column, problem)
            return None
        clean, n_removed = plain(text)
        self.n_cleaned += bool(n_removed)
        return clean or None

    def _role(self, record: Record, value: str | None) -> str:
        role = (value or "assistant").lower()
        if role not in self.roles:
            self.source.refuse(
                record.line,
                self._column(record, "role"),
                f"unknown role {value!r}; use one of {', '.join(self.roles)}, or leave it empty.",
            )
        return role

    def _language(self, record: Record, value: str | None) -> str | None:
        if value is None:
            return None
        found = _LANGUAGE.fullmatch(value)
        if found is None:
            self.source.refuse(
                record.line,
                self._column(record, "language"),
                f"{value[:40]!r} is no language code; write a code such as en, ja or zh.",
            )
            return None
        return found[1].lower() + found[2]

    def _tags(self, record: Record) -> tuple[str, ...]:
        column = self._column(record, "tags")
        value = record.values[column] if column else None
        if is_blank(value):
            return ()
        parts: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
        if isinstance(value, str):
            parts = _TAG_BORDER.split(value)
        tags: dict[str, None] = {}
        for part in parts:
            if isinstance(part, (dict, list, tuple)):
                self.source.refuse(record.line, column, "holds a list in a list; give words.")
                return ()
            tag = None if is_blank(part) else self._clean(record, column, part)
            if tag:
                tags[tag] = None
        return tuple(tags)

    def _held_out(self, record: Record) -> bool | None:
        column = self._column(record, "held_out")
        value = record.values[column] if column else None
        if is_blank(value):
            return None
        word = written(value).strip().casefold()
        if word not in _YES | _NO:
            self.source.refuse(record.line, column, f"{word[:40]!r} is not true or false.")
            return None
        return word in _YES


def is_blank(value: Any) -> bool:
    """Tell whether a cell holds nothing: no value, no number, or white space."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    if isinstance(value, (list, dict, tuple)):
        return not value
    return isinstance(value, str) and not value.strip()


def written(value: Any) -> str:
    """Return a cell as a person would write it: 42.0 as 42, dates as in ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime):
        is_day = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return value.date().isoformat() if is_day else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
