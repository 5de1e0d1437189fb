"""Rows of the store as lines and tables for other programs."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from db.bulk import chunks
from db.database import Database
from db.errors import UsageError
from db.questions import QuestionFilter, get_questions, question_ids
from serving.importers.records import question_line
from workbench.cli.output import show, show_json, show_json_rows
from workbench.cli.writing import Columns, Row, write_rows


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
            raise UsageError(f"--json prints JSON; give {kind} a file with --to FILE.{kind}.")
        show_json_rows({name: row[name] for name in columns} for row in rows)
        return
    n_rows = write_rows(rows, columns, kind, target)
    if target is None:
        return
    if as_json:
        show_json({"file": target, "rows": n_rows})
    else:
        show(f"{n_rows} rows in {target}.")


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
    *("role", "language", "mode", "prompt_format", "model", "model_digest", "replicate", "seed"),
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
