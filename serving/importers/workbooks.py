"""XLSX workbooks to records."""

import warnings
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from serving.importers.content import MAX_UNPACKED_BYTES, Content, too_large, unreadable
from serving.importers.fields import has_question
from serving.importers.source import Record, Source, header_of, repeated_names

_MAX_COLUMNS = 256
_MAX_EMPTY_ROWS = 1_000
_ROWS_A_STEP = 256


def xlsx_records(source: Source, content: Content) -> Iterator[Record]:
    """Yield the records of the first sheet whose first filled row names a question column."""
    from openpyxl import load_workbook

    _refuse_bombs(source, content)
    with content.open() as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # openpyxl warns of styles that do not matter here
                book = load_workbook(file, read_only=True, data_only=True)
            yield from _quietly(_records_of_book(source, book))
        except (KeyError, ValueError, TypeError, OSError, SyntaxError, zipfile.BadZipFile) as error:
            raise unreadable(source.name, "XLSX workbook") from error


def _quietly(records: Iterator[Record]) -> Iterator[Record]:
    """Yield what is read without the warnings on the way; the caller's are let through."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = list(islice(records, _ROWS_A_STEP))
        if not read:
            return
        yield from read


def _records_of_book(source: Source, book: Any) -> Iterator[Record]:
    with closing(book):
        sheets = [(sheet, columns) for sheet in book.worksheets if (columns := _columns_of(sheet))]
        chosen = next((one for one in sheets if has_question(one[1])), None)
        if chosen is None and not sheets:
            return
        sheet, columns = chosen or sheets[0]
        source.repeated = repeated_names(columns)
        source.total = sheet.max_row or 0
        others = [other.title for other, _ in sheets if other is not sheet]
        if others:
            source.notes.append(f"Read sheet {sheet.title!r}; not read: {', '.join(others)}.")
        rows = _filled_rows(sheet)
        next(rows)
        for line, cells in rows:
            source.done = line
            values = {column: cell for column, cell in zip(columns, cells, strict=False) if column}
            yield Record(line, values)


def _columns_of(sheet: Any) -> list[str]:
    """Return the names of a sheet's columns; none where it has no row below them."""
    with closing(_filled_rows(sheet)) as rows:
        header = next(rows, None)
        return header_of(header[1]) if header is not None and next(rows, None) else []


def _filled_rows(sheet: Any) -> Generator[tuple[int, Sequence[Any]]]:
    sheet.reset_dimensions()  # what a sheet says of its size may be wrong by millions
    n_empty = 0
    for line, cells in enumerate(sheet.iter_rows(values_only=True, max_col=_MAX_COLUMNS), start=1):
        if all(cell is None for cell in cells):
            n_empty += 1
            if n_empty > _MAX_EMPTY_ROWS:
                return
            continue
        n_empty = 0
        yield line, cells


def _refuse_bombs(source: Source, content: Content) -> None:
    try:
        with content.open() as file, zipfile.ZipFile(file) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise unreadable(source.name, "XLSX workbook") from error
    if n_bytes > MAX_UNPACKED_BYTES:
        raise too_large(source.name, n_bytes)
