"""The worker's loop: claims jobs, runs them in two lanes, keeps their heartbeat, stops cleanly.

Knows nothing of what a job does: that is its handler's.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any

from db.cancelling import Cancelled, LimitReached, until_stored
from db.database import Database
from db.errors import Q2QError, StoreAway, StoreBusy
from db.jobs import (
    STALE_AFTER_S,
    JobEnd,
    JobRow,
    Lane,
    active_jobs,
    claim,
    finish,
    has_claimable,
    heartbeat,
    jobs_to_join,
    release,
    release_left,
    stop_of_joined,
)
from db.messages import Message
from db.settings import Settings
from db.store.staging import tidy
from db.workers.live import WorkerRow, beat
from workbench.jobs.contracts import NOTHING_ELSE, Aftermath, Handler, JobContext
from workbench.jobs.engines import EnginePool

log = logging.getLogger(__name__)

POLL_S = 0.3
HEARTBEAT_S = 2.0
IDLE_HEARTBEAT_S = 6.0
"""The same for a worker without work; far below the lease."""
JOIN_EVERY_S = 1.0
"""How often a worker without other work looks for a sweep to join."""
STOP_GRACE_S = 15.0
"""How long jobs may take to stop by themselves before their tasks are cancelled."""
AWAY_GRACE_S = 10.0
"""How long a store that is away is waited for once the worker was told to stop."""


class Worker:
    """Runs jobs of a store. Hold the ``worker`` lock of the home while it runs.

    On PostgreSQL there may be several: each job is claimed by one, and a sweep that one runs is
    joined by those that have nothing else to do.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        pool: EnginePool,
        handler_of: Callable[[str], Handler | None],
        worker: WorkerRow,
        *,
        aftermath: Aftermath = NOTHING_ELSE,
        heartbeat_s: float = HEARTBEAT_S,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        self.owner = f"{worker.id}:{worker.host}:{secrets.token_hex(4)}"
        self._worker_id = worker.id
        self._database = database
        self._settings = settings
        self._pool = pool
        self._handler_of = handler_of
        self._aftermath = aftermath
        self._heartbeat_s = heartbeat_s
        self._stale_after_s = stale_after_s
        self._running: dict[asyncio.Task[None], JobContext] = {}
        self._wake = asyncio.Event()
        self._looked_at = 0.0
        self._left_to_others: set[int] = set()
        """Jobs that could not be joined here."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs until ``stop`` is set; jobs in flight then go back into the queue."""
        with self._database.write() as session:
            orphans = release_left(session, self._worker_id)
        await asyncio.to_thread(tidy, self._database)
        if orphans:
            log.info("Going on with what a worker that died left: job %s", orphans)
        await self._store_left()
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        limiting = asyncio.create_task(self._limit_waiting(stop), name="store away at the end")
        try:
            while not stop.is_set():
                if beating.done():
                    beating.result()
                if not await self._begin_next():
                    await self._pause(stop)
        finally:
            await self._stop_jobs()
            self._database.waits_for_server = False
            for task in (beating, limiting):
                task.cancel()
            await asyncio.gather(beating, limiting, return_exceptions=True)
            await self._store_left()

    async def _limit_waiting(self, stop: asyncio.Event) -> None:
        """Once told to stop, wait no longer than a while for a store that is away, whoever does."""
        await stop.wait()
        await asyncio.sleep(AWAY_GRACE_S)
        self._database.waits_for_server = False

    async def _begin_next(self) -> bool:
        try:
            return await self._claim_next() or await self._join_next()
        except StoreBusy as error:  # It is tried again.
            log.warning("No job could be taken: %s", error)
            return False

    async def _claim_next(self) -> bool:
        job = await asyncio.to_thread(self._claim)
        if job is None:
            return False
        context = self._context(job)
        self._begin(context, self._run_job(context))
        return True

    def _context(self, job: JobRow, *, is_joined: bool = False) -> JobContext:
        return JobContext(
            job=job,
            database=self._database,
            settings=self._settings,
            pool=self._pool,
            worker_id=None if self._database.is_sqlite else self._worker_id,
            is_joined=is_joined,
        )

    def _begin(self, context: JobContext, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"job {context.job.id}")
        self._running[task] = context
        task.add_done_callback(self._forget)

    async def _join_next(self) -> bool:
        """Join a sweep that another worker runs, where nothing else is to be done here."""
        is_busy = any(context.job.priority >= 0 for context in self._running.values())
        if self._database.is_sqlite or is_busy or time.monotonic() < self._looked_at + JOIN_EVERY_S:
            return False
        self._looked_at = time.monotonic()
        job = await asyncio.to_thread(self._joinable)
        if job is None:
            return False
        context = self._context(job, is_joined=True)
        self._begin(context, self._take_part(context))
        return True

    def _joinable(self) -> JobRow | None:
        with self._database.read() as session:
            jobs = jobs_to_join(session, self.owner)
        return next((job for job in jobs if job.id not in self._left_to_others), None)

    async def _take_part(self, context: JobContext) -> None:
        """Work at a sweep that another worker holds; it ends there."""
        job = context.job
        log.info("Joining job %d (%s), which %s holds", job.id, job.kind, job.owner)
        try:
            await self._handle(context)
        except (Cancelled, asyncio.CancelledError):
            log.info("Job %d goes on without this worker, or has ended", job.id)
        except StoreAway as away:
            log.warning("Job %d may be joined again: %s", job.id, away)
        except Q2QError as failure:
            self._left_to_others.add(job.id)
            log.warning("Job %d is left to other workers: %s", job.id, failure)
        except Exception:  # As above: a bug ends neither the worker nor the job.
            self._left_to_others.add(job.id)
            log.exception("Job %d (%s) met a bug here", job.id, job.kind)

    def _claim(self) -> JobRow | None:
        """Claim what may run beside the jobs that run now.

        A job of the device lane runs alone; while one waits, only interactive jobs still start.
        """
        if any(context.job.lane == "device" for context in self._running.values()):
            return None
        with self._database.read() as session:
            if not has_claimable(session, stale_after_s=self._stale_after_s):
                return None
            waiting = active_jobs(session)
        lanes: tuple[Lane, ...] = ("server", "device")
        below_priority = None
        if self._running:
            lanes = ("server",)
            if any(job.lane == "device" and job.state == "queued" for job in waiting):
                below_priority = 0
        with self._database.write(concurrently=True) as session:
            return claim(
                session,
                self.owner,
                stale_after_s=self._stale_after_s,
                lanes=lanes,
                below_priority=below_priority,
                worker_id=self._worker_id,
            )

    async def _run_job(self, context: JobContext) -> None:
        job = context.job
        log.info("Job %d (%s) begins", job.id, job.kind)
        end = JobEnd("done")
        result: dict[str, Any] | None = None
        try:
            result = await self._handle(context)
        except (Cancelled, asyncio.CancelledError):
            if not context.by_request:
                self._write(release, job.id)
                log.info("Job %d goes back into the queue", job.id)
                return
            end = JobEnd("cancelled")
        except StoreAway as away:
            log.warning("Job %d goes back into the queue: %s", job.id, away)
            await until_stored(self._database, self._write, release, job.id)
            return
        except LimitReached as limit:
            end = JobEnd("cancelled", str(limit))
        except Q2QError as failure:
            end = JobEnd("failed", str(failure))
        except Exception:  # A bug in one job must not end the others; it is logged and shown.
            log.exception("Job %d (%s) met a bug", job.id, job.kind)
            logs = f"{self._settings.home_dir}/logs"
            bug = Message(
                "The {kind} job met a bug; its trace is in {logs}.", kind=job.kind, logs=logs
            )
            end = JobEnd("failed", bug)
        await until_stored(self._database, self._end, context, end, result)
        log.info("Job %d (%s) ended: %s", job.id, job.kind, end.error or end.state)

    def _end(self, context: JobContext, end: JobEnd, result: dict[str, Any] | None) -> None:
        """Store the end of a job, and in the same transaction what it brought."""
        job = context.job
        with self._database.read() as session:
            store = self._aftermath.of_job(session, job, end)
        with self._database.write() as session:
            heartbeat(
                session,
                job.id,
                self.owner,
                done=context.done,
                total=context.total,
                message=context.message,
            )
            if finish(session, job.id, self.owner, end.state, error=end.error, result=result):
                store(session)

    async def _handle(self, context: JobContext) -> dict[str, Any] | None:
        handler = self._handler_of(context.job.kind)
        if handler is None:
            raise Q2QError(
                "This version cannot run jobs of the kind {job_kind!r}; update it.",
                job_kind=context.job.kind,
            )
        if context.job.lane == "device":
            async with self._pool.device():
                return await handler(context)
        return await handler(context)

    async def _beat(self) -> None:
        beat_at, idle = time.monotonic(), True
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self._store_left()
            contexts = list(self._running.values())
            if not contexts and idle and time.monotonic() < beat_at + IDLE_HEARTBEAT_S:
                continue
            beat_at, idle = time.monotonic(), not contexts
            try:
                await asyncio.to_thread(self._write_heartbeats, contexts)
            except StoreBusy as error:  # It is tried again; the lease is much longer.
                log.warning("The heartbeat could not be written: %s", error)
            for context in contexts:
                if context.by_request or context.is_lost:
                    context.cancelled.set()

    async def _store_left(self) -> None:
        try:
            await asyncio.to_thread(self._aftermath.left, self._database)
        except StoreBusy as error:
            log.warning("What ended jobs left could not be stored: %s", error)
        except Exception:  # It is tried again; the jobs go on.
            log.exception("What ended jobs left could not be stored")

    def _write_heartbeats(self, contexts: list[JobContext]) -> None:
        with self._database.write(concurrently=True) as session:
            beat(session, self._worker_id, {context.job.id for context in contexts})
            for context in sorted(contexts, key=lambda one: one.job.id):
                if context.is_joined:
                    stop = stop_of_joined(session, context.job.id)
                else:
                    stop = heartbeat(
                        session,
                        context.job.id,
                        self.owner,
                        done=context.done,
                        total=context.total,
                        message=context.message,
                    )
                context.by_request = context.by_request or stop == "cancel"
                context.is_lost = context.is_lost or stop == "lost"

    async def _stop_jobs(self) -> None:
        tasks = list(self._running)
        if not tasks:
            return
        for context in self._running.values():
            context.cancelled.set()
        _, slow = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
        self._database.waits_for_server = False
        while slow:  # one that waits for the store does so again after its first cancellation
            for task in slow:
                task.cancel()
            _, slow = await asyncio.wait(slow, timeout=1)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _write(self, action: Callable[..., object], job_id: int) -> None:
        with self._database.write() as session:
            action(session, job_id, self.owner)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake.set()

    async def _pause(self, stop: asyncio.Event) -> None:
        """Wait a moment: for a new job, the end of a running one, or the end of all."""
        self._wake.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._wake)]
        await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
