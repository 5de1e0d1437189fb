"""Many rows at once: values in pieces that fit a statement, and inserts without mapping."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.tables.base import Base, UtcDateTime

T = TypeVar("T")

IN_CHUNK = 5_000
"""Values in one IN list; SQLite and PostgreSQL both take 32,000 parameters."""


def chunks(values: Iterable[T], size: int = IN_CHUNK) -> Iterator[list[T]]:
    """Yield ``values`` in lists of at most ``size``, so that each fits one IN list."""
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield part


def table_of(entity: type[Base]) -> Table:
    """Return the table of a mapped class."""
    return cast(Table, entity.__table__)


def insert_rows(session: Session, entity: type[Base], rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows under ids reserved beforehand: several times faster than asking for them."""
    if not rows:
        return []
    ids = _reserve_ids(session, table_of(entity), len(rows))
    for row, row_id in zip(rows, ids, strict=True):
        row["id"] = row_id
    session.connection().execute(insert(table_of(entity)), rows)
    return ids


def _reserve_ids(session: Session, table: Table, count: int) -> list[int]:
    """Return ids that nobody else gets: SQLite has one writer, PostgreSQL a sequence."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        newest = connection.execute(select(func.max(table.c.id))).scalar() or 0
        return list(range(newest + 1, newest + 1 + count))
    sequence = func.pg_get_serial_sequence(table.name, "id").cast(postgresql.REGCLASS)
    query = select(func.nextval(sequence)).select_from(func.generate_series(1, count).alias())
    return list(connection.execute(query).scalars())


def insert_missing(session: Session, entity: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique keys are not taken yet."""
    if not rows:
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table_of(entity)).on_conflict_do_nothing()
    session.connection().execute(statement, list(rows))


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
