"""What a cell of an XLSX workbook says: the value that a person sees, or why there is none."""

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from serving.importers.content import Content

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


def exact_strings(content: Content) -> list[str] | None:
    """Return a workbook's shared texts as they are stored; None where openpyxl has them right.

    openpyxl removes ``x005F_`` from them wherever it stands, and then nothing can tell an escape
    from a text that looks like one.
    """
    with content.open() as file, zipfile.ZipFile(file) as archive:
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
