"""The lease of all claims, and the clock by which it runs: that of the database."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.tables import utc_now

LEASE_S = 30.0
"""Seconds without a heartbeat after which a worker counts as dead, and its claims as free."""


def store_now(session: Session) -> datetime:
    """Return the time by the clock that all workers of the store share."""
    if session.get_bind().dialect.name == "sqlite":
        return utc_now()
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now
