"""Workers of one store, and what each of them holds now: a claim ends with its worker's lease."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Created, Hash


class Worker(Base):
    """A home whose worker runs jobs of this store; alive as long as its heartbeat is fresh."""

    __tablename__ = "worker"

    id: Mapped[int] = mapped_column(primary_key=True)
    host: Mapped[str]
    home: Mapped[str]
    """Its ``Q2Q_HOME``."""
    job_ids: Mapped[list[Any]] = mapped_column(default=list)
    """Jobs that it works at now, its own and those that it joined."""
    started_at: Mapped[Created]
    heartbeat_at: Mapped[datetime | None]
    """By the clock of the database; None once it has ended cleanly."""

    __table_args__ = (UniqueConstraint("host", "home"),)


class SweepChunk(Base):
    """Some questions of a sweep that several workers run: one worker at a time has them."""

    __tablename__ = "sweep_chunk"

    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    pass_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Place of its first question in the plan of the sweep."""
    size: Mapped[int]
    """Number of its questions."""
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    """Who has it, or had it to its end."""
    ended: Mapped[bool] = mapped_column(default=False)
    """Every slot has come to an end, and is stored."""
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    blocked: Mapped[int] = mapped_column(default=0)
    tokens: Mapped[int] = mapped_column(default=0)
    """Of the texts that its worker has written."""

    __table_args__ = (Index("ix_sweep_chunk_worker_id", "worker_id"),)


class SlotClaim(Base):
    """A slot that a worker samples now, in whatever sweep: nobody else samples it meanwhile."""

    __tablename__ = "slot_claim"

    slot_key: Mapped[Hash] = mapped_column(primary_key=True)
    worker_id: Mapped[int] = mapped_column(ForeignKey("worker.id"), index=True)
