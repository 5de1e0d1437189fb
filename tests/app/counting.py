"""Counting what a page asks of the store: statements, rows, and steps of SQLite's machine."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

STEPS = 1_000
"""Steps of the machine between two calls of the counter."""


@dataclass
class Work:
    """What was asked since the counter was made."""

    statements: int = 0
    rows: int = 0
    kilosteps: int = 0
    """Thousands of steps of SQLite's virtual machine: its work, whatever the machine's load."""


@contextmanager
def counted_work() -> Iterator[Work]:
    """Yield the work of all SQLite connections that are opened inside the block."""
    work = Work()

    class Cursor(sqlite3.Cursor):
        def execute(self, *given: Any) -> "Cursor":
            work.statements += 1
            super().execute(*given)
            return self

        def fetchone(self) -> Any:
            row = super().fetchone()
            work.rows += row is not None
            return row

        def fetchmany(self, *given: Any) -> list[Any]:
            return _counted(super().fetchmany(*given))

        def fetchall(self) -> list[Any]:
            return _counted(super().fetchall())

    def _counted(rows: list[Any]) -> list[Any]:
        work.rows += len(rows)
        return rows

    def tick() -> int:
        work.kilosteps += 1
        return 0

    class Connection(sqlite3.Connection):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.set_progress_handler(tick, STEPS)

        def cursor(self, *_: Any) -> Cursor:  # type: ignore[override]  # always ours
            return super().cursor(Cursor)

    def use(_dialect: Any, _record: Any, _args: Any, named: dict[str, Any]) -> None:
        named["factory"] = Connection

    event.listen(Engine, "do_connect", use)
    try:
        yield work
    finally:
        event.remove(Engine, "do_connect", use)
