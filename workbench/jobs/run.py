"""Being the worker: the engines, the job loop and their clean end, in one process."""

import asyncio
import logging
import logging.handlers
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from db.database import Database
from db.settings import Settings
from workbench.dialogue.finishing import finish_left, results_of_job
from workbench.jobs.engines import EnginePool
from workbench.jobs.handlers import HANDLERS
from workbench.jobs.worker import Aftermath, Worker

AtEnd = Literal["stop", "keep", "as_found"]
"""What happens to the local server: end it, leave it running, or leave it if it ran before."""

AFTERMATH = Aftermath(of_job=results_of_job, left=finish_left)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def be_worker(
    settings: Settings,
    database: Database,
    stop: asyncio.Event,
    *,
    load_default: bool,
    at_end: AtEnd,
) -> None:
    """Run jobs until ``stop`` is set. Hold the ``worker`` lock of the home meanwhile.

    Args:
        settings: The workbench to work for.
        database: Its store.
        stop: Set from outside to end the work; jobs in flight go back into the queue.
        load_default: Load the default model at once, not only when a job asks for one.
        at_end: What to do with the local server.
    """
    async with EnginePool(settings, database) as pool:
        await pool.start(load_default=load_default)
        try:
            await Worker(database, settings, pool, HANDLERS, aftermath=AFTERMATH).run(stop)
        finally:
            await pool.end_server(at_end)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` in the running loop at Ctrl-C and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)


@contextmanager
def worker_log(home: Path, *, also_stderr: bool) -> Iterator[None]:
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
