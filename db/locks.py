"""Locks of one home that end with the process that holds them, however it ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from db.errors import Q2QError

WORKER_LOCK = "worker.lock"
"""Name in ``Q2Q_HOME``: whoever holds it runs jobs, upgrades the store or restores it."""


class FileLock:
    """A lock that this process holds on one file, until ``close`` or its end."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def close(self) -> None:
        """Let the lock go. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def try_lock(path: Path) -> FileLock | None:
    """Take the lock on ``path`` without waiting; None where somebody else holds it.

    The file stays when the lock is let go: a removed one could be locked twice.

    Raises:
        Q2QError: The file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Q2QError(
            f"The lock {path} cannot be opened ({error.strerror});"
            " set Q2Q_HOME to a folder that you may write to."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return FileLock(path, descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock on ``path``."""
    if not path.exists():
        return False
    lock = try_lock(path)
    if lock is None:
        return True
    lock.close()
    return False
