"""The fields of one row, found by the names that files use for them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving.importers.cells import is_blank


class RowFields:
    """The fields of one row; remembers which columns were used."""

    def __init__(self, values: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> None:
        self.values, self.columns = values, columns
        self.used: set[str] = set()
        self._blank = {name for name, value in values.items() if is_blank(value)}

    def filled(self, name: str) -> list[str]:
        """Return the columns of a field that hold something."""
        return [one for one in self.columns.get(name, ()) if one not in self._blank]

    def column(self, name: str) -> str | None:
        """Return the first filled column of a field, else the first one; None: there is none."""
        columns = self.columns.get(name)
        if not columns:
            return None
        if len(columns) > 1:
            return next((one for one in columns if one not in self._blank), columns[0])
        return columns[0]

    def peek(self, name: str) -> Any:
        """Return the value of a field; None where it is not filled."""
        if name not in self.columns:  # most fields of most rows
            return None
        column = self.column(name)
        return None if column is None or column in self._blank else self.values[column]

    def take(self, name: str) -> tuple[Any, str]:
        """Return the value of a field, which counts as used, and what the file calls it."""
        column = self.column(name)
        if column is None:
            return None, name
        self.used.add(column)
        return (None if column in self._blank else self.values[column]), column

    def unused(self) -> Iterator[str]:
        """Yield the names of the columns that hold something and were not used."""
        for column in self.values:
            if column and column not in self.used and column not in self._blank:
                yield column


def is_turns(value: Any) -> bool:
    """Tell whether a value is turns of a chat: one, or a list of them."""
    if isinstance(value, dict):
        return any(key in value for key in ("role", "from"))
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], dict)
