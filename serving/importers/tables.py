"""CSV and TSV texts to records."""

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, TextIO

from serving.importers.content import Content, position
from serving.importers.source import Record, Source, header_of, repeated_names

_DELIMITERS = ",;\t"
_SEPARATOR = re.compile(r"\"?sep=([^\w\"'\r\n])\"?(?=[\r\n])", re.IGNORECASE)
"""What some spreadsheets write before the header of a CSV file."""
_FIELD_LIMIT = 1 << 30
_LINES_A_STEP = 256
"""After so many lines a reader reports how far it is."""


def csv_records(source: Source, content: Content, delimiter: str | None = None) -> Iterator[Record]:
    """Yield the records of a CSV or TSV text; its first line names the columns."""
    csv.field_size_limit(_FIELD_LIMIT)  # long texts are refused later, with a sentence
    with content.open_text(source.encoding, newline="") as stream:
        lines = _with_progress(source, stream)
        first = [next(lines, "")]
        if told := _SEPARATOR.match(first[0]):
            # Its line break stays, and so do the numbers.
            delimiter, first[0] = told[1], first[0][told.end() :]
        while first[-1] and not first[-1].strip("\r\n"):
            first.append(next(lines, ""))
        reader = csv.reader(
            chain(first, lines), delimiter=delimiter or _delimiter(first[-1]), strict=True
        )
        yield from _csv_records(source, _csv_rows(source, reader))


def _with_progress(source: Source, stream: TextIO) -> Iterator[str]:
    for number, line in enumerate(stream):
        if not number % _LINES_A_STEP:
            source.done = position(stream)
        yield line


def _csv_records(source: Source, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Record]:
    header = next(((line, row) for line, row in rows if any(map(str.strip, row))), None)
    if header is None:
        return
    columns = header_of(header[1])
    n_columns = len(columns)
    source.repeated = repeated_names(columns)
    for line, row in rows:
        if len(row) > n_columns and any(cell.strip() for cell in row[n_columns:]):
            source.refuse(
                line,
                None,
                f"has {len(row)} fields but the header has {n_columns}; put texts that hold the "
                "separator between double quotes.",
            )
        elif any(map(str.strip, row)):
            yield Record(line, dict(zip(columns, row, strict=False)))


def _csv_rows(source: Source, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells); a line that breaks the rules of quoting becomes a problem."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            is_open = "unexpected end" in str(error)
            source.refuse(
                line,
                None,
                "a double quote is opened here and never closed; close it."
                if is_open
                else f"cannot be read ({error}); write a quote inside a quoted text twice.",
            )
            if is_open:
                return


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)
