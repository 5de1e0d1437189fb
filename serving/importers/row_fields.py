"""The fields of one row, found by the names that files use for them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving.importers.cells import is_blank


class RowFields:
    """The fields of one row; remembers which columns were used."""

    def __init__(self, values: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> None:
        self.values, self.columns = values, columns
        self.used: set[str] = set()

    def filled(self, name: str) -> list[str]:
        """Return the columns of a field that hold something."""
        columns = self.columns.get(name, ())
        return [one for one in columns if not is_blank(self.values.get(one))]

    def column(self, name: str) -> str | None:
        """Return the first filled column of a field, else the first one; None: there is none."""
        columns = self.columns.get(name, ())
        if len(columns) == 1:
            return columns[0]
        return next(iter(self.filled(name)), columns[0] if columns else None)

    def peek(self, name: str) -> Any:
        """Return the value of a field; None where it is not filled."""
        column = self.column(name)
        value = self.values.get(column) if column is not None else None
        return None if is_blank(value) else value

    def take(self, name: str) -> tuple[Any, str]:
        """Return the value of a field, which counts as used, and what the file calls it."""
        column = self.column(name)
        if column is None:
            return None, name
        self.used.add(column)
        return self.peek(name), column

    def unused(self) -> Iterator[str]:
        """Yield the names of the columns that hold something and were not used."""
        for column, value in self.values.items():
            if column and column not in self.used and not is_blank(value):
                yield column


def is_turns(value: Any) -> bool:
    """Tell whether a value is turns of a chat: one, or a list of them."""
    if isinstance(value, dict):
        return any(key in value for key in ("role", "from"))
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], dict)
