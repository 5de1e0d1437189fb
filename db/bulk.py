"""Many rows: values in pieces that fit a statement, inserts without mapping, and lists by pages."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from math import ceil
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import JSON, ColumnDefault, Integer, Select, Table, Text, func, literal, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql
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


def listed_ids(session: Session, ids: str) -> Select[Any]:
    """Return the select of the ids that a JSON list holds.

    One value instead of a parameter an id: no database takes a hundred thousand of those.
    """
    if session.get_bind().dialect.name == "sqlite":
        return select(sql_cast(func.json_each(ids).table_valued("value").c.value, Integer))
    each = func.json_array_elements_text(sql_cast(literal(ids, Text), JSON))
    return select(sql_cast(each.table_valued("value").c.value, Integer))


def table_of(entity: type[Base]) -> Table:
    """Return the table of a mapped class."""
    return cast(Table, entity.__table__)


def insert_rows(session: Session, entity: type[Base], rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows of equal keys under ids reserved beforehand, and return these.

    Several times faster than asking for ids, and than SQLAlchemy's own way with mappings.
    """
    if not rows:
        return []
    ids = _reserve_ids(session, table_of(entity), len(rows))
    _insert(session, entity, [{"id": row_id, **row} for row_id, row in zip(ids, rows, strict=True)])
    return ids


def insert_missing(session: Session, entity: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows, all of equal keys, whose unique keys are not taken yet."""
    if rows:
        _insert(session, entity, rows, " ON CONFLICT DO NOTHING")


def _insert(
    session: Session, entity: type[Base], rows: Sequence[Mapping[str, Any]], on_conflict: str = ""
) -> None:
    table, dialect = table_of(entity), session.get_bind().dialect
    names = list(rows[0])
    left_out = {
        column.name: column.default.arg(None) if column.default.is_callable else column.default.arg
        for column in table.columns
        if column.name not in names and isinstance(column.default, ColumnDefault)
    }
    names += left_out
    types = [table.c[name].type.dialect_impl(dialect) for name in names]
    binds = [
        (place, bind)
        for place, one in enumerate(types)
        if (bind := one.bind_processor(dialect)) is not None
    ]
    values: list[tuple[Any, ...]] = []
    for row in rows:
        ready = [*row.values(), *left_out.values()]
        for place, bind in binds:
            ready[place] = bind(ready[place])
        values.append(tuple(ready))
    insert_tuples(session, table.name, names, values, on_conflict)


def _reserve_ids(session: Session, table: Table, count: int) -> list[int]:
    """Return ids that nobody else gets: SQLite has one writer, PostgreSQL a sequence."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        newest = connection.execute(select(func.max(table.c.id))).scalar() or 0
        return list(range(newest + 1, newest + 1 + count))
    sequence = func.pg_get_serial_sequence(table.name, "id").cast(postgresql.REGCLASS)
    query = select(func.nextval(sequence)).select_from(func.generate_series(1, count).alias())
    return list(connection.execute(query).scalars())


def insert_tuples(
    session: Session,
    table: str,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    on_conflict: str = "",
) -> None:
    """Insert ``rows``, whose values are in the order of ``columns`` and as the driver takes them.

    Names of table and columns, and what follows, come from the program, never from people.
    """
    if not rows:
        return
    places = ", ".join([_place(session)] * len(columns))
    session.connection().exec_driver_sql(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}){on_conflict}", list(rows)
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


COUNT_LIMIT = 5_000
"""Rows are counted up to here; nobody pages further, a filter is the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some rows of a list, and how many there are."""

    rows: tuple[T, ...]
    total: int
    """All rows, at most ``COUNT_LIMIT``."""
    page: int
    """Counted from 1."""
    page_size: int

    @property
    def n_pages(self) -> int:
        """Pages of the list; an empty list has one."""
        return max(1, ceil(self.total / self.page_size))

    @property
    def is_capped(self) -> bool:
        """True where there may be more rows than ``total``."""
        return self.total >= COUNT_LIMIT


def page_of_keys(
    session: Session, keys: Select[*tuple[Any, ...]], page: int, page_size: int
) -> tuple[Sequence[Any], int, int]:
    """Return the rows of one page of ``keys``, the capped count, and the page they are on.

    Counting and finding cost the same scan, so they share it. A page beyond the end, as an old
    address may name it, gives the last one.
    """
    limited = keys.limit(COUNT_LIMIT).subquery()
    counted = select(limited, func.count().over().label("total")).limit(page_size)
    page = min(max(1, page), ceil(COUNT_LIMIT / page_size))
    rows = session.execute(counted.offset((page - 1) * page_size)).all()
    if not rows and page > 1:
        first = session.execute(counted.limit(1)).first()
        page = ceil(first.total / page_size) if first else 1
        rows = session.execute(counted.offset((page - 1) * page_size)).all()
    return rows, rows[0].total if rows else 0, page
