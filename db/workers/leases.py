"""The lease of all claims, and the clock by which it runs: that of the database."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.tables import Worker, utc_now

LEASE_S = 30.0
"""Seconds without a heartbeat after which a worker counts as dead, and its claims as free."""


def store_now(session: Session) -> datetime:
    """Return the time by the clock that all workers of the store share."""
    if session.get_bind().dialect.name == "sqlite":
        return utc_now()
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now


def is_fresh(
    heartbeat: InstrumentedAttribute[datetime | None],
    now: datetime | ColumnElement[Any],
    lease_s: float = LEASE_S,
) -> ColumnElement[bool]:
    """Return the condition that a heartbeat is younger than a lease.

    One from further ahead than a lease was written before the clock was set back: whoever lives
    writes a new one within seconds, and the dead would hold their claims as long as that was.
    """
    lease = timedelta(seconds=lease_s)
    return heartbeat.between(now - lease, now + lease)


def is_live(now: datetime | ColumnElement[Any] | None = None) -> ColumnElement[bool]:
    """Return the condition that a worker lives, by its heartbeat; None is PostgreSQL's clock."""
    return is_fresh(Worker.heartbeat_at, func.clock_timestamp() if now is None else now)
