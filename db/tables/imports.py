"""An import on its way in: which rows are not there yet for anybody, and what it will change.

One import at a time; both tables are empty while none is under way.
"""

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class StagedRange(Base):
    """The ids that an unfinished import keeps for its rows in one table; nobody sees these rows.

    Deleting the ranges publishes the import, all of it at once.
    """

    __tablename__ = "staged_range"

    table_name: Mapped[str] = mapped_column(primary_key=True)
    first_id: Mapped[int]
    last_id: Mapped[int]


class PendingChange(Base):
    """What an import adds to a row that was there before; applied once the import is published."""

    __tablename__ = "pending_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """``details`` or ``tag`` of a question, ``variant_flag`` or ``answer_flag``."""
    row_id: Mapped[int]
    """Id of the question, reasoning or answer."""
    payload: Mapped[dict[str, Any]]
