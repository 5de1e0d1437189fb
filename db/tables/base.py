"""What all tables share: naming of constraints, UTC times, short content hashes."""

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, cast

from sqlalchemy import JSON, DateTime, Dialect, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from db.messages import Message

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


class MessageText(TypeDecorator[str]):
    """A sentence in English that is read back with its template and values (``Message``)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Store what a message is made of behind it."""
        return value.store() if isinstance(value, Message) else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return a message; older rows hold plain text."""
        return None if value is None else Message.read(value)


class MessageJson(TypeDecorator[dict[str, Any]]):
    """An object as JSON, the messages in which are kept as ``MessageText`` keeps one."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Store what messages are made of behind them."""
        return _each_text(value, lambda text: text.store() if isinstance(text, Message) else text)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return messages; older rows hold plain text."""
        return _each_text(value, Message.read)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _each_text(one, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def utc_now() -> datetime:
    """Return the time now, aware, in UTC."""
    return datetime.now(UTC)


class Archivable:
    """What people put away instead of deleting it; `db.store.archive` says where it is left out."""

    archived_at: Mapped[datetime | None] = mapped_column(sort_order=1000)
    """NULL while it is in use."""


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

Sentence = Annotated[str, mapped_column(MessageText)]
"""A message for people."""

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
