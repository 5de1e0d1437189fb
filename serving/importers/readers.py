"""Files to rows: finds out what a file is and how it is encoded, and reads it whole."""

import stat
from collections.abc import Collection
from pathlib import Path

from db.errors import UsageError
from db.tables.library import ROLES
from serving.importers.documents import json_records, jsonl_records
from serving.importers.encoding import decode
from serving.importers.rows import (
    ALIASES,
    COLUMN_NAMES,
    ReadResult,
    RowMaker,
    used_columns,
)
from serving.importers.source import Record, Source, columns_of
from serving.importers.tables import csv_records, parquet_records, xlsx_records

MAX_FILE_BYTES = 512 << 20
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".xlsx", ".parquet")
"""Kinds of files that can be imported."""


def read_rows(
    source: Path | bytes, *, name: str | None = None, roles: Collection[str] = ROLES
) -> ReadResult:
    """Read a file, or the bytes of an uploaded file called ``name``.

    Good rows and problems are kept apart; whether a problem stops everything is the importer's
    choice. ``roles`` are the names that ``flag`` may have.

    Raises:
        UsageError: The file as a whole cannot be read; the sentence says what to do.
    """
    found, records, columns = read_records(source, name=name, used=COLUMN_NAMES)
    if records and not used_columns(columns)["text"]:
        raise UsageError(
            f"{found.name}: no column can be the question; found {_listed(columns)}. Name it "
            f"one of {_listed(ALIASES['text'])}."
        )
    maker = RowMaker(found, columns, roles)
    rows = [row for record in records if (row := maker.row(record)) is not None]
    _note_unused(found, columns)
    if maker.n_cleaned:
        found.notes.append(
            f"Control characters were removed from {maker.n_cleaned} text"
            f"{'s' if maker.n_cleaned > 1 else ''}."
        )
    return ReadResult(
        name=found.name,
        unit=found.unit,
        rows=rows,
        problems=found.problems,
        encoding=found.encoding,
        columns=columns,
        notes=found.notes,
    )


def read_records(
    source: Path | bytes,
    *,
    name: str | None = None,
    used: Collection[str] | None = None,
    chats: bool = True,
) -> tuple[Source, list[Record], list[str]]:
    """Return a file's records and column names before any field is understood.

    Args:
        source: The file, or its bytes.
        name: What an uploaded file is called.
        used: Names of the columns that matter, in lower case; None: all do. Where two columns have
            one such name, that is a problem of the file.
        chats: Rows of messages and batch requests become one question each.

    Raises:
        UsageError: The file as a whole cannot be read, or it is empty.
    """
    found = Source(name or (source.name if isinstance(source, Path) else "upload"))
    suffix = Path(found.name).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{found.name}: files of this kind are not read; give one of {_listed(SUFFIXES)}."
        )
    records = _records(found, suffix, _bytes_of(source, found.name), chats=chats)
    for column in found.repeated:
        if used is None or column.strip().casefold() in used:
            found.refuse(None, column, "two columns have this name; rename one.")
    if not records and not found.problems:
        raise UsageError(f"{found.name}: holds no rows; give a file with at least one question.")
    return found, records, columns_of(records)


def _bytes_of(source: Path | bytes, name: str) -> bytes:
    try:
        n_bytes = len(source) if isinstance(source, bytes) else _size_of(source)
        if n_bytes > MAX_FILE_BYTES:
            raise UsageError(
                f"{name}: has {n_bytes >> 20} MiB; at most {MAX_FILE_BYTES >> 20} MiB are taken. "
                "Split it into several files."
            )
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{source!s}: cannot be read ({error.strerror}); check the path."
        ) from error
    if not data.strip():
        raise UsageError(f"{name}: the file is empty; give a file with at least one question.")
    return data


def _size_of(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path}: is no file but a pipe or a device; write it to a file first.")
    return found.st_size


def _records(found: Source, suffix: str, data: bytes, *, chats: bool) -> list[Record]:
    if suffix == ".xlsx":
        found.unit, found.encoding = "row", "xlsx"
        return xlsx_records(found, data)
    if suffix == ".parquet":
        found.unit, found.encoding = "row", "parquet"
        return parquet_records(found, data)
    text, found.encoding = decode(data, found.name)
    if suffix in (".csv", ".tsv"):
        return csv_records(found, text, "\t" if suffix == ".tsv" else None)
    if suffix == ".json" or text.lstrip().startswith("["):
        return json_records(found, text, chats=chats)
    return jsonl_records(found, text, chats=chats)


def _note_unused(found: Source, columns: list[str]) -> None:
    used = {column for candidates in used_columns(columns).values() for column in candidates}
    unused = [column for column in columns if column and column not in used]
    if unused:
        found.notes.append(f"Columns not used: {', '.join(unused)}.")


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
