"""The worker of ``q2q up``, as a process: ``python -m workbench.jobs``."""

import asyncio
import logging
import sys

from db.database import Database
from db.errors import Q2QError
from db.settings import Settings
from db.store.migrate import open_store
from workbench.cli.context import load_settings
from workbench.jobs.lock import HomeLock, read_owner
from workbench.jobs.run import be_worker, stop_on_signals, worker_log

log = logging.getLogger("workbench.jobs")
LOCK_POLL_S = 0.5


async def work(settings: Settings, database: Database) -> None:
    """Wait for the lock of the home, then run jobs until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    stop_on_signals(stop.set)
    with HomeLock(settings.home_dir, "worker", command="q2q up") as lock:
        if not lock.try_acquire():
            owner = read_owner(settings.home_dir, "worker")
            log.info("Waiting for %s, which runs jobs now", owner or "another worker")
        while not lock.try_acquire():
            if await _is_set_within(stop, LOCK_POLL_S):
                return
        await be_worker(settings, database, stop, load_default=True, at_end="stop")


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def main() -> int:
    """Run the worker and return the exit code."""
    try:
        chosen = load_settings()
    except Q2QError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with worker_log(chosen.home_dir, also_stderr=True):
        try:
            database = open_store(chosen)
        except Q2QError as error:
            log.error("%s", error)
            return error.exit_code
        try:
            asyncio.run(work(chosen, database))
        finally:
            database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
