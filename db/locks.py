"""Locks of one home that end with the process that holds them, however it ends."""

from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import Q2QError

if TYPE_CHECKING:
    from filelock import AcquireReturnProxy, FileLock

WORKER_LOCK = "worker.lock"
"""Name in ``Q2Q_HOME``: whoever holds it runs jobs, upgrades the store or restores it."""


def try_lock(path: Path) -> "AcquireReturnProxy[FileLock] | None":
    """Take the lock on ``path`` without waiting; None where somebody else holds it.

    What is returned is a context manager whose end lets the lock go; the file stays.

    Raises:
        Q2QError: The file cannot be made.
    """
    from filelock import FileLock, Timeout  # takes a while to load, and most commands lock nothing

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, mode=0o600, thread_local=False).acquire(blocking=False)
    except Timeout:
        return None
    except OSError as error:
        raise Q2QError(
            "The lock {path} cannot be opened ({error});"
            " set Q2Q_HOME to a folder that you may write to.",
            path=path,
            error=error.strerror,
        ) from error
