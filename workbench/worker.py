"""Being the worker, the one process of a home that runs jobs; and following what another one does.

``python -m workbench.worker`` is the worker of ``q2q up``. A command that needs a job calls
``run_job``: where nobody is the worker, it is that itself until the job has ended.
"""

import asyncio
import contextlib
import logging
import logging.handlers
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from db.database import Database
from db.errors import Q2QError
from db.jobs import JobRow, OnProgress, get_job, request_cancel
from db.settings import Settings, load_settings
from db.store.migrate import open_store
from db.workers.live import (
    StoreHasWorker,
    WorkerRow,
    find_worker,
    leave,
    live_workers,
    register_worker,
)
from workbench.jobs.lock import HomeLock, identity, read_owner

if TYPE_CHECKING:
    from workbench.jobs.contracts import Handler
    from workbench.jobs.engines import AtEnd

log = logging.getLogger("workbench.worker")

HANDLERS: Mapping[str, str] = {
    "sweep": "workbench.jobs.server_lane:sweep",
    "score": "workbench.jobs.server_lane:score",
    "judge": "workbench.jobs.server_lane:judge",
    "serve_start": "workbench.jobs.server_lane:serve_start",
    "serve_stop": "workbench.jobs.server_lane:serve_stop",
    "add_model": "workbench.jobs.server_lane:add_model",
    "probe_engine": "workbench.jobs.server_lane:probe_engine",
    "train": "workbench.jobs.device_lane:train",
    "merge": "workbench.jobs.device_lane:merge",
    "verify": "workbench.jobs.device_lane:verify",
    "compare_precision": "workbench.precision.job:compare",
    "dialogue": "workbench.dialogue.job:dialogue",
    "round": "workbench.rounds.job:run_round",
}
"""Kind of job → its handler, whose module is loaded with the first job of that kind."""
LOCK_POLL_S = 0.5
FOLLOW_POLL_S = 0.3
WORKER_POLL_S = 2.0
"""How often it is looked whether the worker of another home has ended."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def handler_of(kind: str) -> "Handler | None":
    """Return what does jobs of ``kind``; None where this version has no such kind."""
    if kind not in HANDLERS:
        return None
    module, _, name = HANDLERS[kind].partition(":")
    handler: Handler = getattr(import_module(module), name)
    return handler


async def be_worker(
    settings: Settings,
    database: Database,
    stop: asyncio.Event,
    *,
    load_default: bool,
    at_end: "AtEnd",
) -> None:
    """Run jobs until ``stop`` is set. Hold the ``worker`` lock of the home meanwhile.

    Args:
        settings: The workbench to work for.
        database: Its store.
        stop: Set from outside to end the work; jobs in flight go back into the queue.
        load_default: Load the default model at once, not only when a job asks for one.
        at_end: What to do with the local server.

    Raises:
        StoreHasWorker: The store is an SQLite file that a worker of another home works on.
    """
    # Commands that only follow a job need none of these, which take most of a second to load.
    from workbench.dialogue.finishing import finish_left, results_of_job
    from workbench.jobs.contracts import Aftermath
    from workbench.jobs.engines import EnginePool
    from workbench.jobs.loop import Worker

    aftermath = Aftermath(of_job=results_of_job, left=finish_left)
    with registered(database, settings) as worker:
        async with EnginePool(settings, database, worker.id) as pool:
            await pool.start(load_default=load_default)
            loop = Worker(database, settings, pool, handler_of, worker, aftermath=aftermath)
            try:
                await loop.run(stop)
            finally:
                await pool.end_server(at_end)


@contextmanager
def registered(database: Database, settings: Settings) -> Iterator[WorkerRow]:
    """Have the worker of the home among those of the store for the block.

    Raises:
        StoreHasWorker: The store is an SQLite file that a worker of another home works on.
    """
    with database.write() as session:
        worker = register_worker(session, **identity(settings))
    try:
        yield worker
    finally:
        with database.write() as session:
            leave(session, worker.id)


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

    Where no worker lives that would do it, and with the lock of the home, this process is the
    worker until then. Otherwise it follows the job and keeps looking, so that a worker that goes
    away is replaced.

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
            if not _is_done_elsewhere(settings, database, job) and lock.try_acquire():
                at_end: AtEnd = "keep" if keep_server else "as_found"
                with contextlib.suppress(StoreHasWorker):  # it came in between
                    return _work_until_ended(settings, database, job_id, on_progress, at_end)
                lock.release()
            on_progress(job.done, job.total, job.message or "Waiting for the worker.")
            time.sleep(FOLLOW_POLL_S)


def _is_done_elsewhere(settings: Settings, database: Database, job: JobRow) -> bool:
    """Tell whether a worker of another home lives that runs such a job."""
    with database.read() as session:
        workers = live_workers(session)
        own = find_worker(session, **identity(settings))
    others = [worker.id for worker in workers if worker.id != own]
    return job.worker_id in others if job.worker_id is not None else bool(others)


def _work_until_ended(
    settings: Settings,
    database: Database,
    job_id: int,
    on_progress: OnProgress,
    at_end: "AtEnd",
) -> JobRow:
    """Be the worker until a job has ended; Ctrl-C cancels that job."""
    is_interrupted = False

    async def watch() -> None:
        while (job := await asyncio.to_thread(_read, database, job_id)).is_active:
            on_progress(job.done, job.total, job.message or "Starting.")
            await asyncio.sleep(FOLLOW_POLL_S)

    async def work() -> None:
        stop = asyncio.Event()

        def interrupt() -> None:
            nonlocal is_interrupted
            is_interrupted = True
            with database.write() as session:
                request_cancel(session, job_id)
            stop.set()

        _stop_on_signals(interrupt)
        watcher = asyncio.create_task(watch())
        watcher.add_done_callback(lambda _: stop.set())
        try:
            await be_worker(settings, database, stop, load_default=False, at_end=at_end)
        finally:
            watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher

    with _worker_log(settings.home_dir, also_stderr=False):
        asyncio.run(work())
    if is_interrupted:
        raise KeyboardInterrupt
    return _read(database, job_id)


def _read(database: Database, job_id: int) -> JobRow:
    with database.read() as session:
        return get_job(session, job_id)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` in the running loop at Ctrl-C and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)


@contextmanager
def _worker_log(home: Path, *, also_stderr: bool) -> Iterator[None]:
    """Send the log to ``logs/worker.log``, and to the terminal where it is the worker's own."""
    folder = home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(
        folder / "worker.log", maxBytes=5_000_000, backupCount=2, encoding="utf-8"
    )
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handlers: list[logging.Handler] = [file]
    if also_stderr:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setFormatter(logging.Formatter("worker: %(message)s"))
        terminal.addFilter(lambda record: record.name.startswith("workbench."))
        handlers.append(terminal)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


async def _work(
    settings: Settings, database: Database, *, command: str, load_default: bool
) -> None:
    """Wait for the lock of the home, then run jobs until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    _stop_on_signals(stop.set)
    with HomeLock(settings.home_dir, "worker", command=command) as lock:
        if not lock.try_acquire():
            owner = read_owner(settings.home_dir, "worker")
            log.info("Waiting for %s, which runs jobs now", owner or "another worker")
        while not lock.try_acquire():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOCK_POLL_S):
                    await stop.wait()
                    return
        reported = ""
        while not stop.is_set():
            try:
                await be_worker(settings, database, stop, load_default=load_default, at_end="stop")
            except StoreHasWorker as other:
                if str(other) != reported:
                    reported = str(other)
                    log.warning("%s This one waits.", other)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), WORKER_POLL_S)


def run_worker(settings: Settings, database: Database) -> None:
    """Run jobs until Ctrl-C or SIGTERM, as ``q2q worker run``: models load as jobs ask for them."""
    with _worker_log(settings.home_dir, also_stderr=True):
        asyncio.run(_work(settings, database, command="q2q worker run", load_default=False))


def main() -> int:
    """Run the worker of ``q2q up`` and return the exit code."""
    try:
        settings = load_settings()
    except Q2QError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with _worker_log(settings.home_dir, also_stderr=True):
        try:
            database = open_store(settings)
        except Q2QError as error:
            log.error("%s", error)
            return error.exit_code
        with contextlib.closing(database):
            asyncio.run(_work(settings, database, command="q2q up", load_default=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
