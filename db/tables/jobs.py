"""Long work run outside the web process."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Created


class Job(Base):
    """One piece of long work: state, progress, heartbeat, cancel."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """``sweep``, ``serve``, ``probe``; later ``train``, ``merge``, ``verify``, ``round``."""
    lane: Mapped[str]
    """``server``: runs beside others; ``device``: needs the device to itself."""
    priority: Mapped[int] = mapped_column(default=0)
    """Lower runs first; interactive work is negative."""
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sweep_id: Mapped[int | None] = mapped_column(ForeignKey("sweep.id"), index=True)
    state: Mapped[str] = mapped_column(default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    message: Mapped[str | None]
    """What it does now, in one sentence."""
    error: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]
    owner: Mapped[str | None]
    """The worker that holds it: host, process id and a random part."""
    heartbeat_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    starts: Mapped[int] = mapped_column(default=0)
    """How often a worker began it; more than one means that a worker died."""
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("lane IN ('server', 'device')", name="lane"),
        CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"
        ),
        Index("ix_job_state_priority", "state", "priority", "id"),
    )
