"""Run by Alembic: the connection and its transaction belong to ``db.store.migrate``."""

from typing import Any, Literal

from alembic import context
from sqlalchemy.sql.schema import SchemaItem

from db.tables import Base
from db.tables.base import UtcDateTime

# What migrations make beside the models: full-text indexes, one for each kind of database.
UNMAPPED = ("search_index", "search_vector")


def is_mapped(
    item: SchemaItem, name: str | None, kind: str, reflected: bool, compare_to: SchemaItem | None
) -> bool:
    """Tell whether the models describe ``item``; full-text indexes are left alone."""
    return not (reflected and compare_to is None and any(part in str(name) for part in UNMAPPED))


def render_type(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Write our time type as SQLAlchemy's, so that a migration never imports the models."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_object=is_mapped,
    render_item=render_type,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
