"""Tables to records: CSV and TSV text, XLSX sheets, Parquet files."""

import csv
import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from db.errors import UsageError
from serving.importers.rows import used_columns
from serving.importers.source import Record, Source

MAX_UNPACKED_BYTES = 1 << 30
"""An XLSX or Parquet file that unpacks to more is refused."""

_MAX_COLUMNS = 256
_MAX_EMPTY_ROWS = 1_000
_DELIMITERS = ",;\t"
_SEPARATOR = re.compile(r"\"?sep=([^\w\"'\r\n])\"?(?=[\r\n])", re.IGNORECASE)
"""What some spreadsheets write before the header of a CSV file."""
_FIELD_LIMIT = 1 << 30


def csv_records(source: Source, text: str, delimiter: str | None = None) -> list[Record]:
    """Return the records of a CSV or TSV text; its first line names the columns."""
    csv.field_size_limit(_FIELD_LIMIT)  # long texts are refused later, with a sentence
    if told := _SEPARATOR.match(text):
        delimiter, text = told[1], text[told.end() :]  # its line break stays, and so do the numbers
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=delimiter or _delimiter(text), strict=True)
    rows = _csv_rows(source, reader)
    header = next(((line, row) for line, row in rows if any(cell.strip() for cell in row)), None)
    if header is None:
        return []
    columns = _header(header[1])
    source.repeated = _repeated(columns)
    records = []
    for line, row in rows:
        if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
            source.refuse(
                line,
                None,
                f"has {len(row)} fields but the header has {len(columns)}; put texts that hold the "
                "separator between double quotes.",
            )
        elif any(cell.strip() for cell in row):
            records.append(Record(line, dict(zip(columns, row, strict=False))))
    return records


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


def _delimiter(text: str) -> str:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    return max(_DELIMITERS, key=first.count)


def _header(cells: Sequence[Any]) -> list[str]:
    return ["" if cell is None else str(cell).strip().lstrip("\ufeff") for cell in cells]


def _repeated(columns: Sequence[str]) -> list[str]:
    """Return the names that an earlier column has as well; case does not matter."""
    seen: set[str] = set()
    repeated = []
    for column in filter(None, columns):
        if column.casefold() in seen:
            repeated.append(column)
        seen.add(column.casefold())
    return repeated


def xlsx_records(source: Source, data: bytes) -> list[Record]:
    """Return the records of the first sheet whose first filled row names a question column."""
    from openpyxl import load_workbook

    _refuse_bombs(source, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles that do not matter here
        try:
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheets = [(sheet.title, *_sheet_records(sheet)) for sheet in book.worksheets]
            book.close()
        except (KeyError, ValueError, TypeError, OSError, SyntaxError, zipfile.BadZipFile) as error:
            raise _unreadable(source, "XLSX workbook") from error
    sheets = [sheet for sheet in sheets if sheet[2]]
    chosen = next((sheet for sheet in sheets if used_columns(sheet[1])["text"]), None)
    title, columns, records = chosen or (sheets[0] if sheets else ("", [], []))
    source.repeated = _repeated(columns)
    others = [other for other, _, _ in sheets if other != title]
    if others:
        source.notes.append(f"Read sheet {title!r}; not read: {', '.join(others)}.")
    return records


def _sheet_records(sheet: Any) -> tuple[list[str], list[Record]]:
    """Return the names of a sheet's columns, and its rows."""
    sheet.reset_dimensions()  # what a sheet says of its size may be wrong by millions
    columns: list[str] = []
    records: list[Record] = []
    n_empty = 0
    for line, cells in enumerate(sheet.iter_rows(values_only=True, max_col=_MAX_COLUMNS), start=1):
        if all(cell is None for cell in cells):
            n_empty += 1
            if n_empty > _MAX_EMPTY_ROWS:
                break
            continue
        n_empty = 0
        if not columns:
            columns = _header(cells)
            continue
        values = {column: cell for column, cell in zip(columns, cells, strict=False) if column}
        records.append(Record(line, values))
    return columns, records


def _refuse_bombs(source: Source, data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise _unreadable(source, "XLSX workbook") from error
    if n_bytes > MAX_UNPACKED_BYTES:
        raise _too_large(source, n_bytes)


def parquet_records(source: Source, data: bytes) -> list[Record]:
    """Return the records of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        groups = range(file.metadata.num_row_groups)
        n_bytes = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        if n_bytes > MAX_UNPACKED_BYTES:
            raise _too_large(source, n_bytes)
        source.repeated = _repeated(file.schema_arrow.names)
        rows = [row for batch in file.iter_batches() for row in batch.to_pylist()]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(source, "Parquet file") from error
    return [Record(line, row) for line, row in enumerate(rows, start=1)]


def _unreadable(source: Source, kind: str) -> UsageError:
    return UsageError(
        f"{source.name}: this is not a readable {kind} (damaged, protected by a password, or of "
        "another kind); save it again, or as CSV in UTF-8."
    )


def _too_large(source: Source, n_bytes: int) -> UsageError:
    return UsageError(
        f"{source.name}: unpacks to {n_bytes / 2**30:.1f} GiB; at most "
        f"{MAX_UNPACKED_BYTES / 2**30:.0f} GiB are taken. Split it into several files."
    )
