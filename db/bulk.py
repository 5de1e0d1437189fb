"""Many rows at once, as the driver takes them: no mapping, no answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from db.tables.base import UtcDateTime


def insert_tuples(
    session: Session, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert ``rows``, whose values are in the order of ``columns`` and as the driver takes them.

    Names of table and columns come from the program, never from people.
    """
    if not rows:
        return
    places = ", ".join([_place(session)] * len(columns))
    session.connection().exec_driver_sql(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", list(rows)
    )


def select_among(session: Session, statement: str, values: Sequence[Any]) -> Sequence[Any]:
    """Return the rows of a select that ends in ``IN``, for some thousand ``values`` at most."""
    if not values:
        return []
    places = ", ".join([_place(session)] * len(values))
    return session.connection().exec_driver_sql(f"{statement} ({places})", tuple(values)).all()


def driver_time(session: Session, moment: datetime) -> Any:
    """Return a time as ``insert_tuples`` takes it."""
    dialect = session.get_bind().dialect
    bind = UtcDateTime().dialect_impl(dialect).bind_processor(dialect)
    return bind(moment) if bind else moment


def _place(session: Session) -> str:
    return "?" if session.get_bind().dialect.name == "sqlite" else "%s"
