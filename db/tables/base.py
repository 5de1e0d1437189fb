"""What all tables share: naming of constraints, UTC times, short content hashes."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, cast

from sqlalchemy import JSON, DateTime, Dialect, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

T = TypeVar("T")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC; naive times are refused, and what is read back is aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without zone; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time without zone: {value!r}; use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time; SQLite keeps no zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """Return the time now, aware, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        str: Text,
    }


Hash = Annotated[str, mapped_column(String(32))]
"""128 bits of a SHA-256 as 32 hexadecimal digits; see ``db.identity``."""

Created = Annotated[datetime, mapped_column(default=utc_now)]
"""When the row was written."""


def as_row(kind: type[T], entity: object, **computed: Any) -> T:
    """Return what a table's row holds as a dataclass of plain values.

    Args:
        kind: The dataclass; its fields bear the names of columns.
        entity: The row.
        **computed: Fields that are no columns, or not as they are stored.
    """
    names = (one.name for one in fields(cast(Any, kind)) if one.name not in computed)
    return kind(**{name: getattr(entity, name) for name in names}, **computed)
