"""XLSX workbooks to records: which sheet is read, and what a person sees in its cells."""

import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from typing import Any

from serving.importers.fields import has_question
from serving.importers.source import (
    MAX_UNPACKED_BYTES,
    ImportFile,
    Record,
    header_of,
    repeated_names,
    too_large,
    unreadable,
)

_FIRST_ROUNDED = 1e15
"""Excel keeps 15 digits of a number."""
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_LITERAL = re.compile(r'\\(.)|"([^"]*)"')
_ZEROS = re.compile("[0 ()/-]*0[0 ()/-]*0[0 ()/-]*")
"""The shown form of ids: leading zeros, in groups or not."""
_PERCENT = re.compile(r"0(?:\.(0+))?%")
_CHUNK_BYTES = 1 << 20
_OVERLAP = 8


class UntrustedCell(Exception):
    """A cell has no value that can be trusted; the text says why, and what to do."""


class Formulas:
    """The cells of a sheet whose formula has no calculated value, row by row.

    The sheet is opened a second time, with its formulas, once a cell is met that has no value.
    """

    def __init__(self, open_sheet: Callable[[], Any], max_columns: int) -> None:
        self._open_sheet, self._max_columns = open_sheet, max_columns
        self._rows: Iterator[tuple[int, Sequence[Any]]] | None = None

    def uncalculated(self, line: int, cells: Sequence[Any]) -> set[int]:
        """Return the places of such cells in a row; rows come in order."""
        # A formula whose result is the empty text has the type "str".
        empty = {i for i, cell in enumerate(cells) if _is_without_value(cell)}
        if not empty:
            return empty
        if self._rows is None:
            sheet = self._open_sheet()
            sheet.reset_dimensions()
            self._rows = enumerate(sheet.iter_rows(max_col=self._max_columns), start=1)
        row = next((found for number, found in self._rows if number == line), ())
        return {i for i in empty if i < len(row) and row[i].data_type == "f"}


def _is_without_value(cell: Any) -> bool:
    return cell.value is None and hasattr(cell, "row") and cell.data_type != "str"


def value_of(cell: Any, *, is_uncalculated: bool = False) -> Any:
    """Return what a cell says: numbers in the form of an id as the text that is shown.

    Raises:
        UntrustedCell: It holds an error, a formula without a value, or a rounded number.
    """
    if is_uncalculated:
        raise UntrustedCell(
            f"cell {cell.coordinate} holds a formula that was never calculated; open the workbook "
            "in a spreadsheet program and save it there."
        )
    value = cell.value
    if cell.data_type == "e":
        raise UntrustedCell(f"cell {cell.coordinate} holds {value}; correct or empty it.")
    if isinstance(value, str):
        return unescaped(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(cell, value)
    return value


def unescaped(text: str) -> str:
    """Return a text whose ``_x000D_`` and the like are the characters that they stand for."""
    if "_x" not in text:
        return text
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def _number(cell: Any, value: Any) -> Any:
    if isinstance(value, float) and abs(value) >= _FIRST_ROUNDED:
        raise UntrustedCell(
            f"cell {cell.coordinate} holds {value:g}, a number of more than 15 digits, of which "
            "the last are lost; format the column as text and enter it again."
        )
    return shown(value, cell.number_format) if cell.has_style else value


def shown(value: float, number_format: str) -> float | str:
    """Return a number as its format shows it, where that is an id or a percentage."""
    form = _LITERAL.sub(lambda found: found[1] or found[2], number_format.split(";")[0])
    if _ZEROS.fullmatch(form) and value >= 0 and float(value).is_integer():
        return _filled(form, str(int(value)))
    if percent := _PERCENT.fullmatch(form):
        return f"{value * 100:.{len(percent[1] or '')}f}%"
    return value


def _filled(form: str, digits: str) -> str:
    """Return a form of zeros with digits in their places, from the right."""
    left = list(digits.rjust(form.count("0"), "0"))
    text = "".join(left.pop() if one == "0" else one for one in reversed(form))[::-1]
    return "".join(left) + text


def exact_strings(source: ImportFile) -> list[str] | None:
    """Return a workbook's shared texts as they are stored; None where openpyxl has them right.

    openpyxl removes ``x005F_`` from them wherever it stands, and then nothing can tell an escape
    from a text that looks like one.
    """
    with source.open() as file, zipfile.ZipFile(file) as archive:
        names = (one for one in archive.namelist() if one.lower().endswith("sharedstrings.xml"))
        name = next(names, None)
        if name is None or not _holds(archive, name, b"x005F_"):
            return None
        with archive.open(name) as part:
            return list(_shared_strings(part))


def _holds(archive: zipfile.ZipFile, name: str, wanted: bytes) -> bool:
    before = b""
    with archive.open(name) as part:
        while chunk := part.read(_CHUNK_BYTES):
            if wanted in before + chunk:
                return True
            before = chunk[-_OVERLAP:]
    return False


def _shared_strings(part: Any) -> Iterator[str]:
    from openpyxl.cell.text import Text
    from openpyxl.xml.functions import iterparse

    for _, node in iterparse(part):
        if node.tag.endswith("}si"):
            yield Text.from_tree(node).content
            node.clear()


_MAX_COLUMNS = 256
_MAX_EMPTY_ROWS = 1_000
_ROWS_A_STEP = 256
_DAMAGED = (
    *(LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError),
    *(OSError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile, zlib and openpyxl raise where a byte is wrong, or the file is encrypted."""


def xlsx_records(source: ImportFile) -> Iterator[Record]:
    """Yield the records of the first sheet whose first filled row names a question column.

    Hidden sheets are read only where no other holds rows. A cell whose value is an error or not
    known refuses its row where its column matters; elsewhere it is empty, and counted in a note.
    """
    _refuse_bombs(source)
    try:
        with ExitStack() as stack:
            workbook = stack.enter_context(_opened(source, data_only=True))
            strings = exact_strings(source)
            for sheet in workbook.worksheets if strings is not None else ():
                sheet._shared_strings = strings  # openpyxl's own lack some underscores
            sheet = _chosen(source, workbook)
            if sheet is None:
                return

            def same_sheet_with_formulas() -> Any:
                return stack.enter_context(_opened(source, data_only=False))[sheet.title]

            formulas = Formulas(same_sheet_with_formulas, _MAX_COLUMNS)
            yield from _quietly(_SheetReader(source, sheet, formulas).records())
    except _DAMAGED as error:
        raise unreadable(source.name, "XLSX workbook") from error


@contextmanager
def _opened(source: ImportFile, *, data_only: bool) -> Generator[Any]:
    from openpyxl import load_workbook

    with source.open() as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of styles that do not matter here
            workbook = load_workbook(file, read_only=True, data_only=data_only)
        with closing(workbook):
            yield workbook


def _quietly(records: Iterator[Record]) -> Iterator[Record]:
    """Yield what is read without the warnings on the way; the caller's are let through."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = list(islice(records, _ROWS_A_STEP))
        if not read:
            return
        yield from read


def _chosen(source: ImportFile, workbook: Any) -> Any | None:
    """Return the sheet to read, and note the others that hold rows."""
    names = {sheet: _columns_of(sheet) for sheet in workbook.worksheets}
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

    def __init__(self, source: ImportFile, sheet: Any, formulas: Formulas) -> None:
        self._source, self._sheet = source, sheet
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
                if self._source.uses(column):
                    self._source.refuse(line, column, str(untrusted))
                    is_refused = True
                else:
                    self._n_left_out += 1
        return None if is_refused else values


def _refuse_bombs(source: ImportFile) -> None:
    try:
        with source.open() as file, zipfile.ZipFile(file) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
    except _DAMAGED as error:
        raise unreadable(source.name, "XLSX workbook") from error
    if n_bytes > MAX_UNPACKED_BYTES:
        raise too_large(source.name, n_bytes)
