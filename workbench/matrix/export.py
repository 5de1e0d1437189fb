"""A matrix as files: CSV and Parquet with a line for each text, and one HTML page to share."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from db.bulk import chunks
from db.database import Database
from db.errors import UsageError
from db.tables import utc_now
from db.texts.design import MatrixQuestion, matrix_questions
from workbench.i18n import Language, translate
from workbench.matrix.cells import Cell, read_cells
from workbench.matrix.columns import Column, Design
from workbench.matrix.labels import factor_name, level_name, named
from workbench.matrix.rows import MatrixQuery, count_levels, matrix_design, matrix_rows
from workbench.matrix.totals import Total, totals

AT_ONCE: Final = 200
WHOLE: Final = 1_000_000
"""Characters of a text in a file: all of it."""
MOST_ON_PAGE: Final = 500
"""Questions of an HTML page, which a browser has to hold at once."""
EXCERPT: Final = 4_000
TEMPLATES: Final = Path(__file__).parent
ColumnKind = Literal["text", "integer", "number", "flag"]
_COLUMNS: Final[tuple[tuple[str, ColumnKind], ...]] = (
    ("question_id", "integer"),
    ("question", "text"),
    ("context", "text"),
    ("reference_answer", "text"),
    ("answer_check", "text"),
    ("reasoning_id", "integer"),
    ("reasoning", "text"),
    ("answer_id", "integer"),
    ("answer", "text"),
    ("correct", "flag"),
    ("read", "text"),
    ("equal_answers", "integer"),
    ("findings", "text"),
    ("score", "number"),
    ("rater_tags", "text"),
    ("rater_notes", "text"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSource:
    """What is written: the questions of a matrix, its design and its sweeps."""

    database: Database
    design: Design
    rows: Sequence[int]
    sweep_ids: Sequence[int]


def matrix_source(database: Database, query: MatrixQuery) -> tuple[MatrixSource, list[Total]]:
    """Return all that a query shows, with its totals; it takes seconds with a million texts.

    Raises:
        UsageError: There is no such sweep, or columns cannot be made by a factor.
    """
    with database.read() as session:
        rows = matrix_rows(session, query, most=None)
        counted = count_levels(session, query.sweep_ids)
        design = matrix_design(session, query, rows, counted)
    asked = {*query.by, *(name for name, _ in query.only)}
    if unknown := sorted(asked - set(design.factors)):
        raise UsageError(
            "{factor} makes no columns here; choose of {known}.",
            factor=unknown[0],
            known=", ".join(design.factors) or "–",
        )
    source = MatrixSource(database=database, design=design, rows=rows, sweep_ids=query.sweep_ids)
    return source, totals(counted, design, rows if query.narrows else None)


def matrix_columns(design: Design) -> dict[str, ColumnKind]:
    """Return the columns of ``matrix_records`` in their order, each with what it holds."""
    named = dict(_COLUMNS)
    factors: dict[str, ColumnKind] = {f"factor_{name}": "text" for name in design.factors}
    before = list(named)[: list(named).index("reasoning_id")]
    return {name: named.pop(name) for name in before} | factors | named


def _cells(
    source: MatrixSource, rows: Sequence[int], excerpt: int
) -> Iterator[tuple[MatrixQuestion, Mapping[Column, Cell]]]:
    for ids in chunks(rows, AT_ONCE):
        with source.database.read() as session:
            asked = matrix_questions(session, ids, excerpt=excerpt)
            found = read_cells(session, source.design, asked, source.sweep_ids, excerpt=excerpt)
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
                    said = group.notes.said(entry)
                    yield {
                        "question_id": row.id,
                        "question": row.text,
                        "context": row.context or None,
                        "reference_answer": row.reference_answer or None,
                        "answer_check": row.answer_check or None,
                        **{f"factor_{name}": named.get(name) for name in factors},
                        "reasoning_id": entry.variant_id,
                        "reasoning": entry.reasoning,
                        "answer_id": entry.answer_id,
                        "answer": entry.answer,
                        "correct": entry.correct,
                        "read": entry.found,
                        "equal_answers": group.n,
                        "findings": ", ".join(group.notes.flags(entry)),
                        "score": group.notes.score(entry),
                        "rater_tags": ", ".join(said.tags) or None,
                        "rater_notes": "\n".join(said.notes) or None,
                    }


_FORMULA = (*"=+-@\t\r", *"＝＋－＠")
"""First signs of a formula; spreadsheets in Japanese take those of full width, too."""


def matrix_csv(source: MatrixSource) -> bytes:
    """Return the records as CSV in UTF-8 with a byte order mark, which spreadsheets need.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(matrix_columns(source.design)))
    writer.writeheader()
    for record in matrix_records(source):
        writer.writerow({name: _inert(value) for name, value in record.items()})
    return text.getvalue().encode("utf-8-sig")


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def matrix_parquet(source: MatrixSource) -> bytes:
    """Return the records as Parquet."""
    import pyarrow as pa  # half a second, which no page needs to draw
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "flag": pa.bool_()}
    columns = matrix_columns(source.design)
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    data = io.BytesIO()
    with pq.ParquetWriter(data, schema) as writer:
        for some in chunks(matrix_records(source), 5_000):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
    return data.getvalue()


def matrix_html(
    source: MatrixSource, counted: Sequence[Total] | None, title: str, language: Language
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
            count=partial(_counted, language),
            finding=partial(named, "check", language=language),
            whole=_cut,
            language=language,
            title=title,
            made=utc_now().strftime("%Y-%m-%d %H:%M UTC"),
            columns=columns,
            headers=_headers(source.design, columns, language),
            totals=counted,
            rows=list(_cells(source, source.rows[:MOST_ON_PAGE], EXCERPT)),
            n=len(source.rows),
            most=MOST_ON_PAGE,
        )
        .encode()
    )


def _counted(language: Language, name: str, n: int, all: int = 0) -> str:
    form = "one" if n == 1 else "other"
    return translate(f"matrix.{name}.{form}", language, n=f"{n:,}", all=f"{all:,}")


def _cut(text: str) -> str:
    """Mark a text that is longer than what the page holds of it."""
    return text if len(text) < EXCERPT else f"{text}…"


def _headers(
    design: Design, columns: Sequence[Column], language: Language
) -> list[tuple[str, list[tuple[str, int]]]]:
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
        levels = [(level_name(name, start[-1], language), n) for start, n in spans]
        found.append((factor_name(name, language), levels))
    return found
