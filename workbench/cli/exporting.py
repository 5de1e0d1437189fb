"""Rows of the store as lines and tables for other programs."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import text

from db.database import Database
from db.errors import UsageError
from db.questions import QuestionFilter, QuestionRow, get_question, question_ids

Row = dict[str, Any]


def question_lines(database: Database, wanted: QuestionFilter) -> Iterator[str]:
    """Yield one JSON object for each question, oldest first, with the keys that import reads."""
    with database.read() as session:
        for question_id in question_ids(session, wanted):
            yield json.dumps(_importable(get_question(session, question_id)), ensure_ascii=False)


def _importable(row: QuestionRow) -> dict[str, object]:
    keys: dict[str, object] = {
        "id": row.external_id or row.ref,
        "instruction": row.text,
        "input": row.context,
        "flag": row.role,
        "reference_answer": row.reference_answer,
        "category": row.category,
        "language": row.language,
        "tags": list(row.tags),
        "held_out": row.held_out,
    }
    return {key: value for key, value in keys.items() if value not in (None, "", [])}


def export_sweep(database: Database, sweep_id: int, kind: str, target: Path | None) -> int:
    """Write the texts of a sweep and return how many; None as target is stdout.

    Raises:
        UsageError: There is no such kind of file, or the target cannot be written.
    """
    writers = {"jsonl": _write_jsonl, "csv": _write_csv, "parquet": _write_parquet}
    if kind not in writers:
        raise UsageError(f"There is no export as {kind!r}; choose one of {', '.join(writers)}.")
    if target is None:
        if kind == "parquet":
            raise UsageError("Parquet needs a file: add --to texts.parquet.")
        return writers[kind](sys.stdout.buffer, _sweep_rows(database, sweep_id))
    try:
        with target.open("xb") as file:
            return writers[kind](file, _sweep_rows(database, sweep_id))
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written ({error.strerror}); give another file."
        ) from error


def _sweep_rows(database: Database, sweep_id: int) -> Iterator[Row]:
    """Yield a row for each reasoning, then for each answer of a sweep; never all in memory."""
    with database.read() as session:
        for statement in (_REASONINGS, _ANSWERS):
            rows = session.execute(
                text(statement), {"sweep_id": sweep_id}, execution_options={"yield_per": 1000}
            )
            for row in rows.mappings():
                yield dict(row)


def _write_jsonl(file: BinaryIO, rows: Iterator[Row]) -> int:
    n_rows = 0
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")
        n_rows += 1
    return n_rows


def _write_csv(file: BinaryIO, rows: Iterator[Row]) -> int:
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(lines, COLUMNS)
    writer.writeheader()
    n_rows = 0
    for row in rows:
        writer.writerow(row)
        n_rows += 1
    lines.detach()
    return n_rows


def _write_parquet(file: BinaryIO, rows: Iterator[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"latency_ms", "temperature", "top_p", "min_p", *_PENALTIES}
    whole = {
        "question_id",
        "variant_id",
        "answer_id",
        "replicate",
        "seed",
        "top_k",
        "max_tokens",
        "prompt_tokens",
        "completion_tokens",
    }
    schema = pa.schema(
        [
            (
                name,
                pa.float64() if name in numbers else pa.int64() if name in whole else pa.string(),
            )
            for name in COLUMNS
        ]
    )
    n_rows = 0
    with pq.ParquetWriter(file, schema) as writer:
        while batch := list(islice(rows, 1000)):
            writer.write_table(pa.Table.from_pylist(batch, schema))
            n_rows += len(batch)
    return n_rows


_PENALTIES = ("presence_penalty", "frequency_penalty", "repetition_penalty")
_FACTORS = (
    *("role", "language", "mode", "prompt_format", "model", "model_digest", "replicate", "seed"),
    *("temperature", "top_p", "top_k", "min_p", "max_tokens", *_PENALTIES),
    *("finish_reason", "prompt_tokens", "completion_tokens", "latency_ms", "engine_version"),
    "flags",
)
COLUMNS = (
    *("kind", "question_id", "variant_id", "answer_id"),
    *("question", "context", "reasoning", "answer"),
    *_FACTORS,
)
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
