"""The worker's loop: claims jobs, runs them in two lanes, keeps their heartbeat, stops cleanly.

Knows nothing of what a job does: that is its handler's.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from db.cancelling import Cancelled
from db.database import Database
from db.errors import Q2QError
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
    release,
    release_dead,
)
from db.messages import Message
from db.settings import Settings
from db.store.staging import tidy
from workbench.jobs.contracts import NOTHING_ELSE, Aftermath, Handler, JobContext
from workbench.jobs.engines import EnginePool
from workbench.jobs.lock import is_dead_owner, job_owner

log = logging.getLogger(__name__)

POLL_S = 0.3
HEARTBEAT_S = 2.0
STOP_GRACE_S = 15.0
"""How long jobs may take to stop by themselves before their tasks are cancelled."""


class Worker:
    """Runs the jobs of one store. Hold the ``worker`` lock of the home while it runs."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        pool: EnginePool,
        handler_of: Callable[[str], Handler | None],
        *,
        aftermath: Aftermath = NOTHING_ELSE,
        heartbeat_s: float = HEARTBEAT_S,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        self.owner = job_owner()
        self._database = database
        self._settings = settings
        self._pool = pool
        self._handler_of = handler_of
        self._aftermath = aftermath
        self._heartbeat_s = heartbeat_s
        self._stale_after_s = stale_after_s
        self._running: dict[asyncio.Task[None], JobContext] = {}
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs until ``stop`` is set; jobs in flight then go back into the queue."""
        with self._database.write() as session:
            orphans = release_dead(session, is_dead_owner)
        await asyncio.to_thread(tidy, self._database)
        if orphans:
            log.info("Going on with what a worker that died left: job %s", orphans)
        await self._store_left()
        beat = asyncio.create_task(self._beat(), name="heartbeat")
        try:
            while not stop.is_set():
                if beat.done():
                    beat.result()
                if not await self._claim_next():
                    await self._pause(stop)
        finally:
            await self._stop_jobs()
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            await self._store_left()

    async def _claim_next(self) -> bool:
        job = await asyncio.to_thread(self._claim)
        if job is None:
            return False
        context = JobContext(
            job=job, database=self._database, settings=self._settings, pool=self._pool
        )
        task = asyncio.create_task(self._run_job(context), name=f"job {job.id}")
        self._running[task] = context
        task.add_done_callback(self._forget)
        return True

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
        with self._database.write() as session:
            return claim(
                session,
                self.owner,
                stale_after_s=self._stale_after_s,
                lanes=lanes,
                below_priority=below_priority,
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
        except Q2QError as failure:
            end = JobEnd("failed", str(failure))
        except Exception:  # A bug in one job must not end the others; it is logged and shown.
            log.exception("Job %d (%s) met a bug", job.id, job.kind)
            logs = f"{self._settings.home_dir}/logs"
            bug = Message(
                "The {kind} job met a bug; its trace is in {logs}.", kind=job.kind, logs=logs
            )
            end = JobEnd("failed", bug)
        await asyncio.to_thread(self._end, context, end, result)
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
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self._store_left()
            contexts = list(self._running.values())
            if contexts:
                await asyncio.to_thread(self._write_heartbeats, contexts)
            for context in contexts:
                if context.by_request:
                    context.cancelled.set()

    async def _store_left(self) -> None:
        try:
            await asyncio.to_thread(self._aftermath.left, self._database)
        except Exception:  # It is tried again; the jobs go on.
            log.exception("What ended jobs left could not be stored")

    def _write_heartbeats(self, contexts: list[JobContext]) -> None:
        with self._database.write() as session:
            for context in contexts:
                has_to_stop = heartbeat(
                    session,
                    context.job.id,
                    self.owner,
                    done=context.done,
                    total=context.total,
                    message=context.message,
                )
                context.by_request = context.by_request or has_to_stop

    async def _stop_jobs(self) -> None:
        tasks = list(self._running)
        if not tasks:
            return
        for context in self._running.values():
            context.cancelled.set()
        _, slow = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
        for task in slow:
            task.cancel()
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
