"""Workers of one store: who lives, by heartbeats on the clock of the database.

A worker is a home on a host. What it claims (``db.jobs``, ``db.workers.claims``) is its own as long
as its heartbeat is fresh: the lease of all its claims. PostgreSQL takes any number of workers. An
SQLite file takes one: its claims live in the memory of that worker.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import Q2QError
from db.tables import Worker
from db.tables.base import as_row
from db.workers.claims import drop_claims
from db.workers.leases import is_live, store_now


class StoreHasWorker(Q2QError):
    """An SQLite file has one worker, and it has it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One worker; safe to use after the session is closed."""

    id: int
    host: str
    home: str
    job_ids: tuple[int, ...]
    """Jobs that it works at now, its own and those that it joined."""
    started_at: datetime
    heartbeat_at: datetime | None
    silent_s: float
    """Seconds since its last heartbeat."""

    def __str__(self) -> str:
        return f"{self.host} ({self.home})"


def register_worker(session: Session, *, host: str, home: str) -> WorkerRow:
    """Write that the worker of ``home`` begins, and free what an earlier one of that home held.

    Hold the ``worker`` lock of the home.

    Raises:
        StoreHasWorker: The store is an SQLite file that the worker of another home works on.
    """
    now = store_now(session)
    if session.get_bind().dialect.name == "sqlite":
        others = [one for one in live_workers(session) if one.home != home]
        if others:
            raise StoreHasWorker(
                "This store is an SQLite file, which has one worker, and {worker} runs it now;"
                " several need PostgreSQL (Q2Q_DATABASE_URL, see docs/scaling.md).",
                worker=others[0],
            )
    worker = session.get_one(Worker, ensure_worker(session, host=host, home=home))
    worker.started_at = worker.heartbeat_at = now
    worker.job_ids = []
    session.flush()
    drop_claims(session, worker.id)
    return _row(worker, now)


def beat(session: Session, worker_id: int, job_ids: Collection[int]) -> None:
    """Renew the lease of all that a worker has claimed."""
    worker = session.get_one(Worker, worker_id)
    worker.heartbeat_at, worker.job_ids = store_now(session), sorted(job_ids)


def leave(session: Session, worker_id: int) -> None:
    """Write that a worker ended, and free its claims."""
    worker = session.get_one(Worker, worker_id)
    worker.heartbeat_at, worker.job_ids = None, []
    drop_claims(session, worker_id)


def live_workers(session: Session) -> list[WorkerRow]:
    """Return the workers whose heartbeat is fresh, the oldest first."""
    now = store_now(session)
    fresh = select(Worker).where(is_live(now))
    return [_row(worker, now) for worker in session.scalars(fresh.order_by(Worker.id))]


def count_free_for(session: Session, job_id: int) -> int:
    """Count the live workers that work at a job, or at nothing."""
    return sum(not one.job_ids or job_id in one.job_ids for one in live_workers(session))


def ensure_worker(session: Session, *, host: str, home: str) -> int:
    """Return the id of the worker of a home, whether or not one lives, writing it if need be."""
    worker_id = find_worker(session, host=host, home=home)
    if worker_id is None:
        worker = Worker(host=host, home=home)
        session.add(worker)
        session.flush()
        worker_id = worker.id
    return worker_id


def find_worker(session: Session, *, host: str, home: str) -> int | None:
    """Return the id of the worker of a home; None where it never had one."""
    query = select(Worker.id).where(Worker.host == host, Worker.home == home)
    return session.scalar(query)


def _row(worker: Worker, now: datetime) -> WorkerRow:
    beat_at = worker.heartbeat_at or worker.started_at
    return as_row(
        WorkerRow,
        worker,
        job_ids=tuple(worker.job_ids),
        silent_s=max(0.0, (now - beat_at).total_seconds()),
    )
