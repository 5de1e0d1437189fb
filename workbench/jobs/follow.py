"""A job from the command line: be the worker if nobody is, else follow what the worker does."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from db.database import Database
from db.jobs import JobRow, get_job, request_cancel
from db.settings import Settings
from workbench.jobs.lock import HomeLock

POLL_S = 0.3

OnProgress = Callable[[int, int | None, str], None]
"""Receives what is done, what there is in all, and a sentence."""


def run_job(
    settings: Settings,
    database: Database,
    job_id: int,
    on_progress: OnProgress,
    *,
    command: str,
    keep_server: bool = False,
) -> JobRow:
    """See a job through to its end and return it.

    With the lock of the home this process is the worker until then; without it, it follows the
    job and keeps trying the lock, so that a worker that goes away is replaced.

    Args:
        settings: The workbench.
        database: Its store.
        job_id: The job, already written.
        on_progress: Receives how far it is, a few times a second.
        command: What people see as holder of the lock.
        keep_server: Leave the local model server running for later commands.

    Raises:
        KeyboardInterrupt: Ctrl-C. A job that this process ran is then cancelled; one that another
            worker runs goes on there.
    """
    with HomeLock(settings.home_dir, "worker", command=f"q2q {command}") as lock:
        while True:
            job = _read(database, job_id)
            if not job.is_active:
                return job
            if lock.try_acquire():
                return _work(settings, database, job_id, on_progress, keep_server)
            on_progress(job.done, job.total, job.message or "Waiting for the worker.")
            time.sleep(POLL_S)


def _work(
    settings: Settings,
    database: Database,
    job_id: int,
    on_progress: OnProgress,
    keep_server: bool,
) -> JobRow:
    from workbench.jobs.run import be_worker, stop_on_signals, worker_log

    interrupts = 0

    async def watch() -> None:
        while True:
            job = await asyncio.to_thread(_read, database, job_id)
            if not job.is_active:
                return
            on_progress(job.done, job.total, job.message or "Starting.")
            await asyncio.sleep(POLL_S)

    async def work() -> None:
        stop = asyncio.Event()

        def interrupt() -> None:
            nonlocal interrupts
            interrupts += 1
            with database.write() as session:
                request_cancel(session, job_id)
            stop.set()

        stop_on_signals(interrupt)
        watcher = asyncio.create_task(watch())
        watcher.add_done_callback(lambda _: stop.set())
        try:
            await be_worker(
                settings,
                database,
                stop,
                load_default=False,
                at_end="keep" if keep_server else "as_found",
            )
        finally:
            watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher

    with worker_log(settings.home_dir, also_stderr=False):
        asyncio.run(work())
    if interrupts:
        raise KeyboardInterrupt
    return _read(database, job_id)


def _read(database: Database, job_id: int) -> JobRow:
    with database.read() as session:
        return get_job(session, job_id)
