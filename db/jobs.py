"""The job table: long work that is written by any process and run by a worker.

A job is claimed in one transaction, so that two claimants never run it twice. The claim expires
when its heartbeat stops: then the worker died, and another one picks the job up.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, and_, exists, literal, or_, select
from sqlalchemy.orm import Session, aliased

from db.errors import UsageError, existing
from db.sweeps import set_state
from db.tables import Job, utc_now
from db.tables.base import as_row
from db.workers.claims import forget_chunks, has_free_chunks
from db.workers.leases import LEASE_S, is_fresh, store_now

Lane = Literal["server", "device"]
FinalState = Literal["done", "failed", "cancelled"]
Stop = Literal["cancel", "lost"]
"""Somebody asked for its end; or another worker has taken it over, or it has ended."""

LANES: tuple[Lane, ...] = ("server", "device")
ACTIVE_STATES = ("queued", "running")
MAX_STARTS = 5
STALE_AFTER_S = LEASE_S
INTERACTIVE_PRIORITY = -10
"""Priority of work that a person waits for."""


OnProgress = Callable[[int, int | None, str], None]
"""Receives how far long work is, as the row of its job has it: done, total, and a sentence."""


def no_progress(done: int, total: int | None, message: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended."""

    state: FinalState
    error: str | None = None
    """Why it failed, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job as it was when read; safe to use after the session is closed."""

    id: int
    kind: str
    lane: str
    priority: int
    payload: dict[str, Any]
    sweep_id: int | None
    worker_id: int | None
    state: str
    done: int
    total: int | None
    message: str | None
    error: str | None
    result: dict[str, Any] | None
    owner: str | None
    heartbeat_at: datetime | None
    cancel_requested_at: datetime | None
    starts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_active(self) -> bool:
        """Queued or running."""
        return self.state in ACTIVE_STATES

    @property
    def end(self) -> JobEnd | None:
        """How it ended; None while it is active."""
        return None if self.is_active else JobEnd(cast(FinalState, self.state), self.error)


def enqueue(
    session: Session,
    kind: str,
    *,
    lane: Lane = "server",
    payload: Mapping[str, Any] | None = None,
    sweep_id: int | None = None,
    priority: int = 0,
    worker_id: int | None = None,
) -> int:
    """Write a job and return its id; any worker does it, or the one that is named."""
    job = Job(
        kind=kind,
        lane=lane,
        payload=dict(payload or {}),
        sweep_id=sweep_id,
        priority=priority,
        worker_id=worker_id,
    )
    session.add(job)
    session.flush()
    return job.id


def enqueue_sweep(
    session: Session,
    sweep_id: int,
    *,
    retry_failed: bool = False,
    priority: int = 0,
    payload: Mapping[str, Any] | None = None,
) -> int:
    """Queue what is missing of a sweep and return the job's id.

    One that is active is kept, unless somebody asked for its end: the new one follows it.

    Raises:
        UsageError: Failed slots are to be tried again, and the sweep runs without.
    """
    for job in active_jobs(session, sweep_id=sweep_id):
        if job.cancel_requested_at is not None:
            continue
        if retry_failed and not job.payload.get("retry_failed"):
            raise UsageError(
                "Sweep {sweep_id} is running or about to; retry its failures when it has ended.",
                sweep_id=sweep_id,
            )
        return job.id
    set_state(session, sweep_id, "queued")
    given = {**(payload or {}), **({"retry_failed": True} if retry_failed else {})}
    return enqueue(session, "sweep", payload=given, sweep_id=sweep_id, priority=priority)


def cancel_sweep(session: Session, sweep_id: int) -> bool:
    """Ask for the end of a sweep's run; False if it neither waits nor runs."""
    jobs = active_jobs(session, sweep_id=sweep_id)
    for job in jobs:
        request_cancel(session, job.id)
    return bool(jobs)


def claim(
    session: Session,
    owner: str,
    *,
    stale_after_s: float = STALE_AFTER_S,
    lanes: Collection[Lane] = LANES,
    below_priority: int | None = None,
    worker_id: int | None = None,
) -> JobRow | None:
    """Make ``owner`` the holder of the next job and return it; None where nothing waits.

    The lowest priority number goes first, then the oldest. A running job without heartbeat for
    ``stale_after_s`` is taken over; after ``MAX_STARTS`` starts it fails instead, since it seems to
    end every worker that runs it.

    Args:
        session: One that writes (``Database.write``): SQLite serialises these, PostgreSQL locks
            the row, so two claimants never get the same job.
        owner: The worker that claims.
        stale_after_s: Seconds without heartbeat after which a worker counts as dead.
        lanes: Only jobs of these lanes.
        below_priority: Only jobs whose priority number is lower.
        worker_id: The worker of several that claims; jobs of other ones are left to them.
    """
    now, is_any = store_now(session), literal(_has_one_worker(session))
    candidates = (
        select(Job)
        .where(
            _claimable(now, stale_after_s),
            Job.lane.in_(lanes),
            or_(Job.worker_id.is_(None), Job.worker_id == worker_id, is_any),
        )
        .order_by(Job.priority, Job.id)
        .with_for_update(skip_locked=True)
        .limit(1)
    )
    if below_priority is not None:
        candidates = candidates.where(Job.priority < below_priority)
    while (job := session.scalar(candidates)) is not None:
        if job.cancel_requested_at is not None:
            _end(session, job, "cancelled")
        elif job.starts >= MAX_STARTS:
            _end(
                session,
                job,
                "failed",
                f"The worker ended {job.starts} times while it ran this job; see the newest file"
                " in the folder logs of Q2Q_HOME, then start it again.",
            )
        else:
            job.state, job.owner, job.heartbeat_at = "running", owner, now
            job.started_at = job.started_at or now
            job.starts += 1
            session.flush()
            return as_row(JobRow, job)
        session.flush()
    return None


def has_claimable(session: Session, *, stale_after_s: float = STALE_AFTER_S) -> bool:
    """Tell, without taking any lock, whether ``claim`` might find something."""
    query = select(Job.id).where(_claimable(store_now(session), stale_after_s)).limit(1)
    return session.scalar(query) is not None


def heartbeat(
    session: Session,
    job_id: int,
    owner: str,
    *,
    done: int | None = None,
    total: int | None = None,
    message: str | None = None,
) -> Stop | None:
    """Say that ``owner`` is alive and how far it is; return why it has to stop the job, if so.

    What is None stays as it was.
    """
    job = _held(session, job_id, owner)
    if job is None:
        return "lost"
    job.heartbeat_at = store_now(session)
    job.done = job.done if done is None else done
    job.total = job.total if total is None else total
    job.message = job.message if message is None else message
    return "cancel" if job.cancel_requested_at is not None else None


def stop_of_joined(session: Session, job_id: int) -> Stop | None:
    """Return why a worker that joined a job has to stop: its holder may change, not its end."""
    job = session.get(Job, job_id)
    if job is None or job.state not in ACTIVE_STATES:
        return "lost"
    return "cancel" if job.cancel_requested_at is not None else None


def jobs_to_join(session: Session, owner: str) -> list[JobRow]:
    """Return the sweeps that other workers run and that have chunks for one more."""
    query = select(Job).where(
        Job.kind == "sweep", Job.state == "running", Job.owner != owner, Job.priority >= 0,
        Job.worker_id.is_(None), Job.cancel_requested_at.is_(None), has_free_chunks(Job.id),
    )  # fmt: skip
    return [as_row(JobRow, job) for job in session.scalars(query.order_by(Job.priority, Job.id))]


def finish(
    session: Session,
    job_id: int,
    owner: str,
    state: FinalState,
    *,
    error: str | None = None,
    result: Mapping[str, Any] | None = None,
) -> bool:
    """End a job of ``owner``; return False, and change nothing, if it is no longer its holder."""
    job = _held(session, job_id, owner)
    if job is None:
        return False
    _end(session, job, state, error)
    job.result = dict(result) if result is not None else None
    return True


def release(session: Session, job_id: int, owner: str) -> bool:
    """Put a job of ``owner`` back into the queue: the worker stops, and the next one goes on.

    A clean stop is no failed start. A job that somebody wanted to cancel ends as cancelled.
    """
    job = _held(session, job_id, owner)
    if job is None:
        return False
    if job.cancel_requested_at is not None:
        _end(session, job, "cancelled")
    else:
        job.state, job.owner, job.heartbeat_at = "queued", None, None
        job.message = "Waiting for a worker."
        job.starts -= 1
    return True


def release_left(session: Session, worker_id: int) -> list[int]:
    """Put running jobs back that an earlier process of a worker left; return their ids.

    Call it before this process claims any. The start counts: the worker died. An SQLite file has
    one worker, so that whatever runs there was left by it.
    """
    running = select(Job).where(Job.state == "running")
    if not _has_one_worker(session):
        running = running.where(Job.owner.startswith(f"{worker_id}:"))
    left = session.scalars(running).all()
    for job in left:
        job.state, job.owner, job.heartbeat_at = "queued", None, None
    return [job.id for job in left]


def _has_one_worker(session: Session) -> bool:
    """Tell whether the store is an SQLite file."""
    return session.get_bind().dialect.name == "sqlite"


def request_cancel(session: Session, job_id: int) -> bool:
    """Ask for the end of a job; a queued one ends at once. False if it has ended already."""
    job = existing(
        session.get(Job, job_id, with_for_update=True), "There is no job {job_id}.", job_id=job_id
    )
    if job.state not in ACTIVE_STATES:
        return False
    job.cancel_requested_at = job.cancel_requested_at or utc_now()
    if job.state == "queued":
        _end(session, job, "cancelled")
    return True


def get_job(session: Session, job_id: int) -> JobRow:
    """Return one job.

    Raises:
        UsageError: There is none with this id.
    """
    job = session.get(Job, job_id, populate_existing=True)
    return as_row(JobRow, existing(job, "There is no job {job_id}.", job_id=job_id))


def active_jobs(
    session: Session, *, sweep_id: int | None = None, kind: str | None = None
) -> list[JobRow]:
    """Return queued and running jobs in the order in which they run."""
    query = select(Job).where(Job.state.in_(ACTIVE_STATES)).order_by(Job.priority, Job.id)
    if sweep_id is not None:
        query = query.where(Job.sweep_id == sweep_id)
    if kind is not None:
        query = query.where(Job.kind == kind)
    return [as_row(JobRow, job) for job in session.scalars(query)]


def recent_jobs(session: Session, limit: int = 20) -> list[JobRow]:
    """Return the last jobs, active or ended, newest first."""
    return [
        as_row(JobRow, job)
        for job in session.scalars(select(Job).order_by(Job.id.desc()).limit(limit))
    ]


def last_job(session: Session, kind: str, **payload: int) -> JobRow | None:
    """Return the newest job of a kind, active or ended, whose payload holds these numbers."""
    held = [Job.payload[name].as_integer() == value for name, value in payload.items()]
    query = select(Job).where(Job.kind == kind, *held).order_by(Job.id.desc()).limit(1)
    job = session.scalar(query)
    return None if job is None else as_row(JobRow, job)


def _claimable(now: datetime, stale_after_s: float) -> ColumnElement[bool]:
    other = aliased(Job)
    runs_already = exists().where(
        other.sweep_id == Job.sweep_id, other.id != Job.id, other.state == "running"
    )
    return or_(
        and_(Job.state == "queued", ~runs_already),
        and_(
            Job.state == "running",
            or_(Job.heartbeat_at.is_(None), ~is_fresh(Job.heartbeat_at, now, stale_after_s)),
        ),
    )


def _held(session: Session, job_id: int, owner: str) -> Job | None:
    return session.scalar(
        select(Job)
        .where(Job.id == job_id, Job.owner == owner, Job.state == "running")
        .with_for_update()
    )


def _end(session: Session, job: Job, state: FinalState, error: str | None = None) -> None:
    job.state, job.error, job.finished_at = state, error, utc_now()
    job.owner = job.heartbeat_at = None
    forget_chunks(session, job.id)
    if job.sweep_id is not None and state != "done":
        set_state(session, job.sweep_id, state, error=error)
