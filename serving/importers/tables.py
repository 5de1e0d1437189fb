"""CSV, TSV, Parquet and Arrow files to records."""

import csv
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, TextIO

from db.errors import UsageError
from serving.importers.source import (
    MAX_UNPACKED_BYTES,
    ImportFile,
    Record,
    header_of,
    position,
    repeated_names,
    too_large,
    unreadable,
)

_DELIMITERS = ",;\t"
_SEPARATOR = re.compile(r"\"?sep=([^\w\"'\r\n])\"?(?=[\r\n])", re.IGNORECASE)
"""What some spreadsheets write before the header of a CSV file."""
_FIELD_LIMIT = 1 << 26
"""A text of so many characters has a quote that is never closed."""
_LINES_A_STEP = 256
"""After so many lines a reader reports how far it is."""


def csv_records(source: ImportFile) -> Iterator[Record]:
    """Yield the records of a CSV or TSV text; its first line names the columns."""
    csv.field_size_limit(_FIELD_LIMIT)  # long texts are refused later, with a sentence
    delimiter = "\t" if source.suffix == ".tsv" else None
    with source.open_text(newline="") as stream:
        lines = _with_progress(source, stream)
        first = [next(lines, "")]
        if found := _SEPARATOR.match(first[0]):
            # Its line break stays, and so do the numbers.
            delimiter, first[0] = found[1], first[0][found.end() :]
        while first[-1] and not first[-1].strip("\r\n"):
            first.append(next(lines, ""))
        yield from _Table(source, chain(first, lines), delimiter or _delimiter(first[-1])).records()


def _with_progress(source: ImportFile, stream: TextIO) -> Iterator[str]:
    for number, line in enumerate(stream):
        if not number % _LINES_A_STEP:
            source.done = position(stream)
        yield line


class _Table:
    """Reads the rows of a CSV text; what breaks the rules of quoting becomes a problem."""

    def __init__(self, source: ImportFile, lines: Iterator[str], delimiter: str) -> None:
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


_ROWS_A_STEP = 1024
_NO_TEXT = object()
"""Stands for bytes that are not UTF-8."""


def parquet_records(source: ImportFile) -> Iterator[Record]:
    """Yield the records of a Parquet file, a part of a row group at a time.

    Bytes that are no text refuse their row where their column matters.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with source.open() as raw, pq.ParquetFile(raw) as file:
            groups = range(file.metadata.num_row_groups)
            sizes = [file.metadata.row_group(group).total_byte_size for group in groups]
            if max(sizes, default=0) > MAX_UNPACKED_BYTES:
                raise too_large(source.name, max(sizes))
            source.repeated = repeated_names(file.schema_arrow.names)
            source.class_names |= _class_names(file.schema_arrow)
            source.total = file.metadata.num_rows
            yield from _records(source, file.iter_batches(batch_size=_ROWS_A_STEP))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(source.name, "Parquet file") from error


def arrow_records(source: ImportFile) -> Iterator[Record]:
    """Yield the rows of a file that ``datasets`` saved, an Arrow stream."""
    import pyarrow as pa

    try:
        with source.open() as raw, pa.ipc.open_stream(raw) as stream:
            source.repeated = repeated_names(stream.schema.names)
            source.class_names |= _class_names(stream.schema)
            yield from _records(source, stream)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            "{source_name}: is no Arrow file of `datasets`; save it again.", source_name=source.name
        ) from error


def _class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Return column → names of its classes, as `datasets` notes them beside the schema."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {
        str(column): tuple(map(str, feature["names"]))
        for column, feature in (features.items() if isinstance(features, dict) else ())
        if isinstance(feature, dict) and isinstance(feature.get("names"), list)
    }


def _records(source: ImportFile, batches: Any) -> Iterator[Record]:
    line = 0
    for batch in batches:
        names = [one for one in batch.schema.names if source.uses(one)]
        has_bytes = any("binary" in str(one.type) for one in batch.schema if one.name in names)
        for row in _rows(batch):
            line += 1
            if has_bytes:
                row |= {name: _as_text(row[name]) for name in names}
            wrong = [name for name in names if row[name] is _NO_TEXT]
            if wrong:
                source.refuse(line, wrong[0], "holds bytes that are not UTF-8; correct them.")
            else:
                yield Record(line, row)
        source.done = line


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch; a text that is not UTF-8 is ``_NO_TEXT``."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        columns = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
        for index in range(batch.num_rows):
            yield {name: _cell(column[index]) for name, column in columns.items()}


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _NO_TEXT


def _as_text(value: Any) -> Any:
    """Return a value whose bytes are texts; ``_NO_TEXT`` where some are not UTF-8."""
    try:
        return _decoded(value)
    except UnicodeDecodeError:
        return _NO_TEXT


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if isinstance(value, dict):
        return {name: _decoded(one) for name, one in value.items()}
    return value
