"""CSV and TSV texts to records."""

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import TextIO

from serving.importers.content import Content, position
from serving.importers.source import Record, Source, header_of, repeated_names

_DELIMITERS = ",;\t"
_SEPARATOR = re.compile(r"\"?sep=([^\w\"'\r\n])\"?(?=[\r\n])", re.IGNORECASE)
"""What some spreadsheets write before the header of a CSV file."""
_FIELD_LIMIT = 1 << 26
"""A text of so many characters has a quote that is never closed."""
_LINES_A_STEP = 256
"""After so many lines a reader reports how far it is."""


def csv_records(source: Source, content: Content, delimiter: str | None = None) -> Iterator[Record]:
    """Yield the records of a CSV or TSV text; its first line names the columns."""
    csv.field_size_limit(_FIELD_LIMIT)  # long texts are refused later, with a sentence
    with content.open_text(source.encoding, newline="") as stream:
        lines = _with_progress(source, stream)
        first = [next(lines, "")]
        if found := _SEPARATOR.match(first[0]):
            # Its line break stays, and so do the numbers.
            delimiter, first[0] = found[1], first[0][found.end() :]
        while first[-1] and not first[-1].strip("\r\n"):
            first.append(next(lines, ""))
        yield from _Table(source, chain(first, lines), delimiter or _delimiter(first[-1])).records()


def _with_progress(source: Source, stream: TextIO) -> Iterator[str]:
    for number, line in enumerate(stream):
        if not number % _LINES_A_STEP:
            source.done = position(stream)
        yield line


class _Table:
    """Reads the rows of a CSV text; what breaks the rules of quoting becomes a problem."""

    def __init__(self, source: Source, lines: Iterator[str], delimiter: str) -> None:
        self._source, self._lines, self._delimiter = source, lines, delimiter
        self._reader = csv.reader(lines, delimiter=delimiter, strict=True)

    def records(self) -> Iterator[Record]:
        """Yield the rows below the header."""
        rows = self._rows()
        header = next(((line, row) for line, row in rows if any(map(str.strip, row))), None)
        if header is None:
            return
        columns = header_of(header[1])
        self._source.repeated = repeated_names(columns)
        for line, row in rows:
            problem = self._problem(row, len(columns))
            if problem is not None:
                self._source.refuse(line, None, problem)
            elif any(map(str.strip, row)):
                yield Record(line, dict(zip(columns, row, strict=False)))

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, cells)."""
        while True:
            line = self._reader.line_num + 1
            try:
                yield line, next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end" in str(error) or "field limit" in str(error):
                    self._refuse_rest(line)
                    return
                last = self._reader.line_num
                lost = f"; lines {line} to {last} are lost with it" if last > line else ""
                self._source.refuse(
                    line,
                    None,
                    f"cannot be read ({error}){lost}; write a quote inside a quoted text twice.",
                )

    def _refuse_rest(self, line: int) -> None:
        """Refuse the file: behind a quote that is never closed, nobody can tell rows apart."""
        n_lines = self._reader.line_num + sum(1 for _ in self._lines) - line
        after = "the line" if n_lines == 1 else f"the {n_lines} lines"
        lost = f", and {after} after it cannot be told apart" if n_lines else ""
        self._source.refuse_file(
            line, f"a double quote is opened here and never closed{lost}; close it."
        )

    def _problem(self, row: list[str], n_columns: int) -> str | None:
        if len(row) > n_columns and any(cell.strip() for cell in row[n_columns:]):
            return (
                f"has {len(row)} fields but the header has {n_columns}; put texts that hold the "
                "separator between double quotes."
            )
        if len(row) < n_columns and self._has_swallowed(row, n_columns):
            return (
                f"has {len(row)} fields of {n_columns}, and a text that holds whole rows; close "
                "the double quote before them."
            )
        return None

    def _has_swallowed(self, row: list[str], n_columns: int) -> bool:
        """Tell whether a text of several lines holds one with as many fields as the header."""
        return any(
            line.count(self._delimiter) >= n_columns - 1
            for cell in row
            if "\n" in cell
            for line in cell.splitlines()
        )


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)
