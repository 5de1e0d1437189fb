"""Who runs here: one worker and one ``q2q up`` per home, and what they say of themselves."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import psutil

from db.locks import WORKER_LOCK, try_lock
from db.settings import Settings

if TYPE_CHECKING:
    from filelock import AcquireReturnProxy, FileLock

LockName = Literal["worker", "up"]
_FILES: dict[LockName, str] = {"worker": WORKER_LOCK, "up": "up.lock"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a lock; for messages only, the lock itself is the truth."""

    pid: int
    host: str
    command: str
    """What the holder was started as, e.g. ``q2q up``."""
    started: str
    """ISO time in UTC."""
    url: str | None = None
    """Where its page is, for ``q2q up``."""

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.pid} on {self.host}, since {self.started})"


class HomeLock:
    """A lock of ``Q2Q_HOME`` with its holder's name in the file.

    Whoever holds ``worker`` runs jobs and owns the model server; ``up`` is held by ``q2q up``.
    """

    def __init__(self, home: Path, name: LockName, *, command: str, url: str | None = None) -> None:
        self.path = home / _FILES[name]
        self._command = command
        self._url = url
        self._lock: AcquireReturnProxy[FileLock] | None = None

    @property
    def is_held(self) -> bool:
        """True while this object holds the lock."""
        return self._lock is not None

    def try_acquire(self) -> bool:
        """Take the lock and write who holds it; False, at once, if another process has it."""
        if self._lock is None:
            self._lock = try_lock(self.path)
            if self._lock is None:
                return False
            owner = Owner(
                pid=os.getpid(),
                host=socket.gethostname(),
                command=self._command,
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                url=self._url,
            )
            self.path.write_text(json.dumps(asdict(owner)), "utf-8")
        return True

    def release(self) -> None:
        """Give the lock back. Safe to call twice."""
        if self._lock is not None:
            self.path.write_text("", "utf-8")
            self._lock.lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def read_owner(home: Path, name: LockName) -> Owner | None:
    """Return who holds a lock of ``home``; None if nobody does, as far as can be told."""
    try:
        text = (home / _FILES[name]).read_text("utf-8")
    except OSError:  # no such home, or none that can be read: the next command says so
        return None
    owner = Owner(**json.loads(text)) if text else None
    if owner is None or (owner.host == socket.gethostname() and not psutil.pid_exists(owner.pid)):
        return None
    return owner


def identity(settings: Settings) -> dict[str, str]:
    """Return by what the store knows the worker of a home: ``host`` and ``home``."""
    return {"host": socket.gethostname(), "home": str(settings.home_dir.absolute())}
