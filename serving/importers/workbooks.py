"""XLSX workbooks to records: which sheet is read, and its rows as they are asked for."""

import warnings
import zipfile
import zlib
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from typing import Any

from serving.importers.content import MAX_UNPACKED_BYTES, Content, too_large, unreadable
from serving.importers.fields import has_question, plain_name
from serving.importers.source import Record, Source, header_of, repeated_names
from serving.importers.workbook_cells import Formulas, UntrustedCell, exact_strings, value_of

_MAX_COLUMNS = 256
_MAX_EMPTY_ROWS = 1_000
_ROWS_A_STEP = 256
_DAMAGED = (
    *(LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError),
    *(OSError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile, zlib and openpyxl raise where a byte is wrong, or the file is encrypted."""


def xlsx_records(
    source: Source, content: Content, used: Collection[str] | None
) -> Iterator[Record]:
    """Yield the records of the first sheet whose first filled row names a question column.

    Hidden sheets are read only where no other holds rows. A cell whose value is an error or not
    known refuses its row where its column is one of ``used`` (None: all are); elsewhere it is
    empty, and counted in a note.
    """
    _refuse_bombs(source, content)
    try:
        with ExitStack() as stack:
            book = stack.enter_context(_opened(content, data_only=True))
            strings = exact_strings(content)
            for sheet in book.worksheets if strings is not None else ():
                sheet._shared_strings = strings  # openpyxl's own lack some underscores
            sheet = _chosen(source, book)
            if sheet is None:
                return

            def same_sheet_with_formulas() -> Any:
                return stack.enter_context(_opened(content, data_only=False))[sheet.title]

            formulas = Formulas(same_sheet_with_formulas, _MAX_COLUMNS)
            yield from _quietly(_SheetReader(source, used, sheet, formulas).records())
    except _DAMAGED as error:
        raise unreadable(source.name, "XLSX workbook") from error


@contextmanager
def _opened(content: Content, *, data_only: bool) -> Generator[Any]:
    from openpyxl import load_workbook

    with content.open() as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of styles that do not matter here
            book = load_workbook(file, read_only=True, data_only=data_only)
        with closing(book):
            yield book


def _quietly(records: Iterator[Record]) -> Iterator[Record]:
    """Yield what is read without the warnings on the way; the caller's are let through."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = list(islice(records, _ROWS_A_STEP))
        if not read:
            return
        yield from read


def _chosen(source: Source, book: Any) -> Any | None:
    """Return the sheet to read, and note the others that hold rows."""
    names = {sheet: _columns_of(sheet) for sheet in book.worksheets}
    filled = [sheet for sheet, columns in names.items() if columns]
    visible = [sheet for sheet in filled if sheet.sheet_state == "visible"]
    choice = visible or filled
    chosen = next((sheet for sheet in choice if has_question(names[sheet])), None)
    chosen = chosen or next(iter(choice), None)
    others = [
        f"{sheet.title}{'' if sheet.sheet_state == 'visible' else ' (hidden)'}"
        for sheet in filled
        if sheet is not chosen
    ]
    if others and chosen is not None:
        source.notes.append(f"Read sheet {chosen.title!r}; not read: {', '.join(others)}.")
    return chosen


def _columns_of(sheet: Any) -> list[str]:
    """Return the names of a sheet's columns; none where it has no row below them."""
    rows = (cells for _, cells in _rows(sheet) if any(cell.value is not None for cell in cells))
    header, first = next(rows, None), next(rows, None)
    return [] if header is None or first is None else _header(header)


def _header(cells: Sequence[Any]) -> list[str]:
    return header_of([cell.value for cell in cells])


def _rows(sheet: Any) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield number and cells of each row, up to many empty ones."""
    sheet.reset_dimensions()  # what a sheet says of its size may be wrong by millions
    n_empty = 0
    for line, cells in enumerate(sheet.iter_rows(max_col=_MAX_COLUMNS), start=1):
        is_empty = all(cell.value is None for cell in cells)
        n_empty = n_empty + 1 if is_empty else 0
        if n_empty > _MAX_EMPTY_ROWS:
            return
        yield line, cells


class _SheetReader:
    """Reads the rows of one sheet."""

    def __init__(
        self, source: Source, used: Collection[str] | None, sheet: Any, formulas: Formulas
    ) -> None:
        self._source, self._used, self._sheet = source, used, sheet
        self._formulas = formulas
        self._columns: list[str] = []
        self._n_left_out = 0

    def records(self) -> Iterator[Record]:
        """Yield the rows below the header; notes are added at the end."""
        for line, cells in _rows(self._sheet):
            self._source.done = line
            if self._columns:
                values = self._values(line, cells)
                if values:
                    yield Record(line, values)
            elif any(cell.value is not None for cell in cells):
                self._columns = _header(cells)
                self._source.repeated = repeated_names(self._columns)
        if self._n_left_out:
            cells_are = "1 cell is" if self._n_left_out == 1 else f"{self._n_left_out} cells are"
            self._source.notes.append(
                f"{cells_are} taken as empty, in columns that are not used: they hold an error, "
                "or a formula that was never calculated."
            )

    def _values(self, line: int, cells: Sequence[Any]) -> dict[str, Any] | None:
        """Return the values of a row; None where it is empty, or refused."""
        uncalculated = self._formulas.uncalculated(line, cells)
        if not uncalculated and all(cell.value is None for cell in cells):
            return None
        values: dict[str, Any] = {}
        is_refused = False
        for index, (column, cell) in enumerate(zip(self._columns, cells, strict=False)):
            if not column:
                continue
            try:
                values[column] = value_of(cell, is_uncalculated=index in uncalculated)
            except UntrustedCell as untrusted:
                values[column] = None
                if self._used is None or plain_name(column) in self._used:
                    self._source.refuse(line, column, str(untrusted))
                    is_refused = True
                else:
                    self._n_left_out += 1
        return None if is_refused else values


def _refuse_bombs(source: Source, content: Content) -> None:
    try:
        with content.open() as file, zipfile.ZipFile(file) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
    except _DAMAGED as error:
        raise unreadable(source.name, "XLSX workbook") from error
    if n_bytes > MAX_UNPACKED_BYTES:
        raise too_large(source.name, n_bytes)
