"""Rows as a file: JSON lines, CSV, Excel or Parquet, one batch in memory at a time."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from db.errors import UsageError

Row = dict[str, Any]
Columns = Mapping[str, Literal["text", "integer", "number", "flag"]]
"""Names in their order, each with what it holds."""

BATCH = 1_000
MOST_IN_A_CELL = 32_767
"""Characters that Excel keeps of one cell."""


def write_rows(rows: Iterator[Row], columns: Columns, kind: str, target: Path | None) -> int:
    """Write ``rows`` and return how many; None as target is stdout.

    Raises:
        UsageError: There is no such kind of file, or the target cannot be written.
    """
    if kind not in WRITERS:
        raise UsageError(f"There is no export as {kind!r}; choose one of {', '.join(WRITERS)}.")
    if target is None:
        if kind in ("parquet", "xlsx"):
            raise UsageError(f"A {kind} file needs a name: add --to FILE.{kind}.")
        return WRITERS[kind](sys.stdout.buffer, rows, columns)
    try:
        with target.open("xb") as file:
            return WRITERS[kind](file, rows, columns)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written ({error.strerror}); give another file."
        ) from error
    except UsageError:
        target.unlink(missing_ok=True)
        raise


def _write_jsonl(file: BinaryIO, rows: Iterator[Row], columns: Columns) -> int:
    n_rows = 0
    for row in rows:
        kept = {name: row[name] for name in columns}
        file.write(json.dumps(kept, ensure_ascii=False, default=str).encode() + b"\n")
        n_rows += 1
    return n_rows


def _write_csv(file: BinaryIO, rows: Iterator[Row], columns: Columns) -> int:
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(lines, list(columns))
    writer.writeheader()
    n_rows = 0
    for row in rows:
        writer.writerow(row)
        n_rows += 1
    lines.detach()
    return n_rows


def _write_parquet(file: BinaryIO, rows: Iterator[Row], columns: Columns) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    n_rows = 0
    with pq.ParquetWriter(file, schema) as writer:
        while batch := list(islice(rows, BATCH)):
            plain = [
                {
                    name: str(row[name]) if kind == "text" and row[name] is not None else row[name]
                    for name, kind in columns.items()
                }
                for row in batch
            ]
            writer.write_table(pa.Table.from_pylist(plain, schema))
            n_rows += len(batch)
    return n_rows


def _write_xlsx(file: BinaryIO, rows: Iterator[Row], columns: Columns) -> int:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet("rows")
    sheet.append(list(columns))
    n_rows = 0
    for row in rows:
        n_rows += 1
        cells = []
        for name, kind in columns.items():
            value = row[name]
            if kind == "text" and value is not None:
                value = ILLEGAL_CHARACTERS_RE.sub("", str(value))
                if len(value) > MOST_IN_A_CELL:
                    raise UsageError(
                        f"Row {n_rows}, {name}: has {len(value):,} characters, and Excel keeps"
                        f" {MOST_IN_A_CELL:,}; export as jsonl or parquet."
                    )
            cell = WriteOnlyCell(sheet, value)
            if kind == "text" and value is not None:
                cell.data_type = "s"  # A text that begins with = is a text, not a formula.
            cells.append(cell)
        sheet.append(cells)
    book.save(file)
    return n_rows


WRITERS: Mapping[str, Callable[[BinaryIO, Iterator[Row], Columns], int]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "xlsx": _write_xlsx,
    "parquet": _write_parquet,
}
