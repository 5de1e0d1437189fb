"""Reasonings from a file, each with the question it is for; for sweeps that are given reasonings.

Any kind of file that can be imported, with a column ``reasoning`` and, in each row, one of

* ``question_id``: the question's number in the store, ``12`` or ``q12``;
* the question itself (``instruction`` with its ``input`` and ``flag``);
* ``id``, ``external_id`` or ``custom_id``: the id that the question was imported with.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError
from db.identity import question_hash
from db.tables import Question
from db.tables.library import ROLES
from serving.importers.fields import FIELDS, NAMES, field_of, is_blank, plain_name, written
from serving.importers.parsed_row import LeftOut
from serving.importers.readers import read_records
from serving.importers.rows import RowMaker
from serving.importers.source import ImportFile, ImportRefused, ImportRow, Record
from serving.importers.unwrap import Unwrapper

_ID = re.compile(r"[qQ]?([0-9]{1,18})(?:\.0+)?")
"""``12``, ``q12``, and ``12.0`` as tables of numbers have it; no store counts further."""
_NOTHING_DONE = "Nothing was read: correct the file and try again."


@dataclass(frozen=True, slots=True)
class SuppliedReasoning:
    """A reasoning of a file and the question that it is for."""

    line: int
    column: Literal["id", "content_hash", "external_id"]
    """Of the table of questions, by which the file names the question."""
    value: int | str
    text: str


def read_reasonings(
    given: Path | bytes, *, name: str | None = None, roles: Collection[str] = ROLES
) -> list[SuppliedReasoning]:
    """Return the reasonings of a file in its order.

    Raises:
        UsageError: The file cannot be read, or a row has no reasoning or names no question.
    """
    file = read_records(given, name=name, used={*NAMES, "question_id"})
    builtin = Unwrapper.builtin()
    maker = RowMaker(file, builtin, roles, takes_judgements=False, needs_text=False)
    reasonings: list[SuppliedReasoning] = []
    for record in file.records:
        try:
            found = [_supplied(file, record, row) for row in maker.rows(record)]
        except LeftOut as left_out:
            file.refuse(record.line, None, f"is left out ({left_out}); remove the row.")
            continue
        reasonings += [one for one in found if one is not None]
    known = {field_of(column) for column in file.columns}
    if not reasonings and not known & {"reasoning", "messages", "output"}:
        columns = ", ".join(file.columns) or "none"
        raise UsageError(
            "{file_name}: has no column 'reasoning'; found {columns}.",
            file_name=file.name,
            columns=columns,
        )
    if file.problems:
        raise ImportRefused(file.problems, _NOTHING_DONE)
    return reasonings


def _supplied(source: ImportFile, record: Record, row: ImportRow) -> SuppliedReasoning | None:
    column = next((one for one in record.values if plain_name(one) == "question_id"), "")
    value = record.values.get(column)
    number = "" if is_blank(value) else written(value).strip()
    if row.reasoning is None:
        source.refuse(record.line, "reasoning", "is empty; fill it in or remove the row.")
    elif number and not _ID.fullmatch(number):
        source.refuse(record.line, column, f"{number[:40]!r} is no id; write 12 or q12.")
    elif found := _ID.fullmatch(number):
        return SuppliedReasoning(record.line, "id", int(found[1]), row.reasoning)
    elif row.text:
        content_hash = question_hash(row.text, row.context, row.role)
        return SuppliedReasoning(record.line, "content_hash", content_hash, row.reasoning)
    elif row.external_id:
        return SuppliedReasoning(record.line, "external_id", row.external_id, row.reasoning)
    else:
        what = f"names no question; fill in question_id, {FIELDS['text'][0]} or id."
        source.refuse(record.line, None, what)
    return None


def resolve_reasonings(
    session: Session, reasonings: Sequence[SuppliedReasoning]
) -> list[tuple[int, str]]:
    """Return (question id, reasoning) for each of ``reasonings``.

    Raises:
        UsageError: Some of their questions are not in the store.
    """
    wanted: dict[str, set[int | str]] = {"id": set(), "content_hash": set(), "external_id": set()}
    for one in reasonings:
        wanted[one.column].add(one.value)
    known = {column: _find(session, column, values) for column, values in wanted.items()}
    resolved, missing = [], []
    for one in reasonings:
        question_id = known[one.column].get(one.value)
        if question_id is None:
            missing.append(one.line)
        else:
            resolved.append((question_id, one.text))
    if missing:
        lines = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        raise UsageError(
            "The questions of {n_missing} reasonings are not in the store (lines {lines}); "
            "import the questions first.",
            n_missing=len(missing),
            lines=lines,
        )
    return resolved


def _find(session: Session, column: str, wanted: Collection[int | str]) -> dict[int | str, int]:
    """Return the ids of questions by the value of ``column``, the oldest where several match."""
    found: dict[int | str, int] = {}
    named = getattr(Question, column)
    for chunk in chunks(wanted):
        rows = session.execute(
            select(named, Question.id).where(named.in_(chunk)).order_by(Question.id.desc())
        )
        found |= dict(rows.all())
    return found
