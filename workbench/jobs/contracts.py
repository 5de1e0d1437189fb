"""What features know of jobs: the context in which their handlers do one, and what they give back.

A job kind is registered by the name of its handler in ``workbench.worker.HANDLERS``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from db.jobs import JobEnd, JobRow
from db.settings import Settings
from serving.sweeps.chunks import Sharing
from workbench.jobs.engines import EnginePool


@dataclass(kw_only=True)
class JobContext:
    """What a handler gets: the job, where to work, and how to say how far it is."""

    job: JobRow
    database: Database
    settings: Settings
    pool: EnginePool
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the handler has to stop: it then raises ``db.cancelling.Cancelled``."""
    by_request: bool = False
    """True where a person cancelled the job; False where only the worker stops."""
    worker_id: int | None = None
    """This worker, on a store that several may share."""
    is_joined: bool = False
    """Another worker holds the job; this one only takes chunks of its sweep."""
    is_lost: bool = False
    """Another worker took the job over, or it ended elsewhere."""
    done: int | None = None
    total: int | None = None
    message: str | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether only the worker stops: the job goes back into the queue."""
        return self.cancelled.is_set() and not self.by_request and not self.is_lost

    def sharing(self, *, with_others: bool = False) -> Sharing | None:
        """Return beside which workers a sweep of this job runs; None where the store has one.

        Args:
            with_others: Workers that have nothing else to do may join it.
        """
        if self.worker_id is None:
            return None
        job_id = self.job.id if with_others else None
        return Sharing(self.worker_id, job_id, is_joined=self.is_joined)

    def report(self, done: int, total: int | None, message: str) -> None:
        """Say how far the job is; written with the next heartbeat."""
        self.done, self.total, self.message = done, total, message

    @asynccontextmanager
    async def cancelled_or_after(self, limit_s: float | None) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set when the job has to stop, or after ``limit_s`` seconds."""
        ended = asyncio.Event()

        async def wait() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.cancelled.wait(), limit_s)
            ended.set()

        waiting = asyncio.create_task(wait())
        try:
            yield ended
        finally:
            waiting.cancel()


Handler = Callable[[JobContext], Awaitable[dict[str, Any] | None]]
"""Does a job and returns its result. A ``Q2QError`` fails the job with its sentence."""


def _nothing_else(session: Session, job: JobRow, end: JobEnd) -> Callable[[Session], None]:
    return lambda session: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What is stored beside the end of jobs."""

    of_job: Callable[[Session, JobRow, JobEnd], Callable[[Session], None]] = _nothing_else
    """Works out, from a job that is about to end, what is written in the transaction of its end."""
    left: Callable[[Database], object] = lambda database: None
    """Stores what jobs left that ended without a handler; called again and again, it is cheap."""


NOTHING_ELSE = Aftermath()
