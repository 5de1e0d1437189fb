"""A matrix as files: CSV and Parquet with a line for each text, and one HTML page to share."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from db.bulk import chunks
from db.database import Database
from db.questions import QuestionRow, get_questions
from db.tables import utc_now
from workbench.i18n import Language, translate
from workbench.matrix.cells import Cell, read_cells
from workbench.matrix.columns import Column, Design
from workbench.matrix.totals import Total

AT_ONCE: Final = 200
WHOLE: Final = 1_000_000
"""Characters of a text in a file: all of it."""
MOST_ON_PAGE: Final = 500
"""Questions of an HTML page, which a browser has to hold at once."""
EXCERPT: Final = 4_000
TEMPLATES: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSource:
    """What is written: the questions of a matrix, its design and its sweeps."""

    database: Database
    design: Design
    rows: Sequence[int]
    sweep_ids: Sequence[int]


def _cells(
    source: MatrixSource, rows: Sequence[int], excerpt: int
) -> Iterator[tuple[QuestionRow, Mapping[Column, Cell]]]:
    for ids in chunks(rows, AT_ONCE):
        with source.database.read() as session:
            asked = get_questions(session, ids)
            checks = {one.id: one.answer_check or "" for one in asked}
            found = read_cells(
                session, source.design, ids, source.sweep_ids, checks, excerpt=excerpt
            )
        for row in asked:
            yield row, found.get(row.id, {})


def matrix_records(source: MatrixSource) -> Iterator[dict[str, Any]]:
    """Yield a record for each answer (and each reasoning without one), column by column."""
    factors = tuple(source.design.factors)
    for row, by_column in _cells(source, source.rows, WHOLE):
        for column in source.design.columns:
            for group in by_column[column].groups if column in by_column else ():
                for entry in group.entries:
                    named = source.design.named(entry.level)
                    yield {
                        "question_id": row.id,
                        "question": row.text,
                        "context": row.context,
                        "reference_answer": row.reference_answer,
                        "answer_check": row.answer_check,
                        **{f"factor_{name}": named.get(name) for name in factors},
                        "reasoning_id": entry.variant_id,
                        "reasoning": entry.reasoning,
                        "answer_id": entry.answer_id,
                        "answer": entry.answer,
                        "correct": entry.correct,
                        "read": entry.found,
                        "equal_answers": group.n,
                        "findings": ", ".join(name for name, _ in group.flags),
                        "score": group.score,
                    }


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def matrix_csv(source: MatrixSource) -> bytes:
    """Return the records as CSV in UTF-8 with a byte order mark, which spreadsheets need.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for record in matrix_records(source):
        if writer is None:
            writer = csv.DictWriter(text, list(record))
            writer.writeheader()
        writer.writerow({name: _inert(value) for name, value in record.items()})
    return text.getvalue().encode("utf-8-sig")


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def matrix_parquet(source: MatrixSource) -> bytes:
    """Return the records as Parquet."""
    import pyarrow as pa  # half a second, which no page needs to draw
    import pyarrow.parquet as pq

    types = {"question_id": pa.int64(), "reasoning_id": pa.int64(), "answer_id": pa.int64()}
    types |= {"correct": pa.bool_(), "equal_answers": pa.int64(), "score": pa.float64()}
    data = io.BytesIO()
    writer = None
    for some in chunks(matrix_records(source), 5_000):
        schema = pa.schema([(name, types.get(name, pa.string())) for name in some[0]])
        writer = writer or pq.ParquetWriter(data, schema)
        writer.write_table(pa.Table.from_pylist(some, schema=schema))
    if writer is not None:
        writer.close()
    return data.getvalue()


def matrix_html(
    source: MatrixSource, totals: Sequence[Total] | None, title: str, language: Language
) -> bytes:
    """Return one HTML page that needs nothing else: no script, no address but its own.

    Every text is escaped. Of very many questions it holds the first, and says so.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    columns = source.design.columns
    return (
        environment.get_template("matrix.html.j2")
        .render(
            w=partial(translate, language=language),
            language=language,
            title=title,
            made=utc_now().strftime("%Y-%m-%d %H:%M UTC"),
            columns=columns,
            headers=_headers(source.design, columns),
            totals=totals,
            rows=list(_cells(source, source.rows[:MOST_ON_PAGE], EXCERPT)),
            n=len(source.rows),
            most=MOST_ON_PAGE,
        )
        .encode()
    )


def _headers(design: Design, columns: Sequence[Column]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return for each factor its name and its levels, equal ones side by side as (level, n)."""
    found = []
    for depth, name in enumerate(design.by):
        spans: list[tuple[tuple[str, ...], int]] = []
        for column in columns:
            start = column.levels[: depth + 1]
            if spans and spans[-1][0] == start:
                spans[-1] = (start, spans[-1][1] + 1)
            else:
                spans.append((start, 1))
        found.append((name, [(start[-1], n) for start, n in spans]))
    return found
