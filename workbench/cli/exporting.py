"""Rows of the store as lines and tables for other programs."""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sqlalchemy import text

from db.bulk import chunks
from db.database import Database
from db.errors import UsageError
from db.new_files import json_line, new_file
from db.questions import QuestionFilter, get_questions, question_ids
from serving.importers.fields import question_line
from workbench.cli.output import show_done, show_json_rows

Row = dict[str, Any]
Columns = Mapping[str, Literal["text", "integer", "number", "flag"]]
"""Names in their order, each with what it holds."""


def question_lines(database: Database, wanted: QuestionFilter) -> Iterator[str]:
    """Yield one JSON object for each question, oldest first, with the keys that import reads."""
    with database.read() as session:
        for ids in chunks(question_ids(session, wanted)):
            yield from map(question_line, get_questions(session, ids))


def export_rows(
    rows: Iterator[Row], columns: Columns, kind: str, target: Path | None, *, as_json: bool
) -> None:
    """Write rows to a file and say so; or to stdout, as lines, or with ``--json`` as one array.

    Raises:
        UsageError: There is no such kind of file, or the target cannot be written.
    """
    if target is None and as_json:
        if kind != "jsonl":
            raise UsageError(
                "--json prints JSON; give {kind} a file with --to FILE.{kind}.", kind=kind
            )
        show_json_rows({name: row[name] for name in columns} for row in rows)
        return
    n_rows = write_rows(rows, columns, kind, target)
    if target is None:
        return
    show_done(f"{n_rows} rows in {target}.", {"file": target, "rows": n_rows}, as_json)


def sweep_rows(database: Database, sweep_id: int) -> Iterator[Row]:
    """Yield a row for each reasoning, then for each answer of a sweep; never all in memory."""
    with database.read() as session:
        for statement in (_REASONINGS, _ANSWERS):
            rows = session.execute(
                text(statement), {"sweep_id": sweep_id}, execution_options={"yield_per": 1000}
            )
            for row in rows.mappings():
                yield dict(row)


_PENALTIES = ("presence_penalty", "frequency_penalty", "repetition_penalty")
_FACTORS = (
    *("role", "language", "mode", "prompt_format", "model", "model_digest", "precision"),
    *("replicate", "seed"),
    *("temperature", "top_p", "top_k", "min_p", "max_tokens", *_PENALTIES),
    *("finish_reason", "prompt_tokens", "completion_tokens", "latency_ms", "engine_version"),
    "flags",
)
_NUMBERS = {"latency_ms", "temperature", "top_p", "min_p", *_PENALTIES}
_WHOLE = {
    *("question_id", "variant_id", "answer_id", "replicate", "seed", "top_k", "max_tokens"),
    *("prompt_tokens", "completion_tokens"),
}
COLUMNS: Columns = {
    name: "number" if name in _NUMBERS else "integer" if name in _WHOLE else "text"
    for name in (
        *("kind", "question_id", "variant_id", "answer_id"),
        *("question", "context", "reasoning", "answer"),
        *_FACTORS,
    )
}
"""Columns of an exported sweep, in this order."""
_SHARED = ", ".join(f"t.{name}" for name in _FACTORS)
_REASONINGS = f"""
SELECT 'reasoning' AS kind, t.question_id, t.variant_id, NULL AS answer_id, t.question, t.context,
    t.text AS reasoning, NULL AS answer, {_SHARED}
FROM v_sweep_text l JOIN v_variant t ON t.generation_id = l.generation_id
WHERE l.sweep_id = :sweep_id ORDER BY t.variant_id
"""
_ANSWERS = f"""
SELECT 'answer' AS kind, t.question_id, t.variant_id, t.answer_id, t.question, t.context,
    t.reasoning, t.text AS answer, {_SHARED}
FROM v_sweep_text l JOIN v_answer t ON t.generation_id = l.generation_id
WHERE l.sweep_id = :sweep_id ORDER BY t.answer_id
"""
BATCH = 1_000
MAX_IN_A_CELL = 32_767
"""Characters that Excel keeps of one cell."""
_FIRST_ROUNDED = 10**15
"""Excel keeps 15 digits of a number."""
_ESCAPED = re.compile(r"[\x00-\x08\x0b-\x1f]|_(?=x[0-9A-Fa-f]{4}_)")
"""What a cell holds as ``_x000D_``: control characters, and texts that look like one of these."""


def write_rows(rows: Iterator[Row], columns: Columns, kind: str, target: Path | None) -> int:
    """Write ``rows`` and return how many; None as target is stdout.

    Raises:
        UsageError: There is no such kind of file, or the target cannot be written.
    """
    if kind not in WRITERS:
        raise UsageError(
            "There is no export as {kind!r}; choose one of {writers}.",
            kind=kind,
            writers=", ".join(WRITERS),
        )
    if target is None:
        if kind in ("parquet", "xlsx"):
            raise UsageError("A {kind} file needs a name: add --to FILE.{kind}.", kind=kind)
        return WRITERS[kind](sys.stdout.buffer, rows, columns)
    with new_file(target) as file:
        return WRITERS[kind](file, rows, columns)


def _write_jsonl(file: BinaryIO, rows: Iterator[Row], columns: Columns) -> int:
    n_rows = 0
    for row in rows:
        chosen = {name: row[name] for name in columns}
        file.write(f"{json_line(chosen, default=str)}\n".encode())
        n_rows += 1
    return n_rows


def _write_csv(file: BinaryIO, rows: Iterator[Row], columns: Columns) -> int:
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.DictWriter(lines, list(columns))
        writer.writeheader()
        n_rows = 0
        for row in rows:
            writer.writerow(row)
            n_rows += 1
    finally:
        lines.detach()  # the file is the caller's to close
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
    from openpyxl import Workbook  # a third of a second, which no other command needs to start
    from openpyxl.cell import WriteOnlyCell

    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("rows")
    new_cell = partial(WriteOnlyCell, sheet)
    n_rows = 0
    try:
        sheet.append(list(columns))
        for row in rows:
            n_rows += 1
            sheet.append(
                [
                    _cell(
                        new_cell,
                        str(row[name]) if kind == "text" and row[name] is not None else row[name],
                        f"Row {n_rows}, {name}",
                    )
                    for name, kind in columns.items()
                ]
            )
    except BaseException:
        sheet.close()  # which ends openpyxl's own writing
        raise
    workbook.save(file)
    return n_rows


def _cell(new_cell: Callable[[Any], Any], value: Any, place: str) -> Any:
    """Return a cell: numbers as such where Excel keeps all their digits, all else as text."""
    is_long = isinstance(value, int) and abs(value) >= _FIRST_ROUNDED
    if value is None or (isinstance(value, int | float) and not is_long):
        return new_cell(value)
    text = _ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", str(value))
    if len(text) > MAX_IN_A_CELL:
        raise UsageError(
            "{place}: has {n:,} characters, and Excel keeps {most:,}; export as jsonl or parquet.",
            place=place,
            n=len(text),
            most=MAX_IN_A_CELL,
        )
    cell = new_cell(text)
    cell.data_type = "s"  # A text that begins with = is a text, not a formula.
    return cell


WRITERS: Mapping[str, Callable[[BinaryIO, Iterator[Row], Columns], int]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "xlsx": _write_xlsx,
    "parquet": _write_parquet,
}
