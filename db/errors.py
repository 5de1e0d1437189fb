"""Errors that people see: one sentence that names the place and the remedy.

* Q2QError          - something could not be done (exit code 1)
  + UsageError      - the input was wrong (exit code 2)
  + StoreFault      - the store cannot be used now; nothing half-written is left
    - StoreBusy     - another program is writing for longer than one waits
    - StoreAway     - the database server went away
    - StoreFull     - its disk is full
    - StoreReadOnly - it may be read and not written
    - StoreDamaged  - its file is not what was written
"""

import errno
import shutil
import sqlite3
from pathlib import Path
from typing import TypeVar

from db.messages import Message


class Q2QError(Exception):
    """Something could not be done; ``str(error)`` is the message for people."""

    exit_code = 1

    def __init__(self, template: str = "", /, **values: object) -> None:
        """Say ``template`` with ``values`` in its braces; without any it is taken as it is."""
        self.message = Message(template, **values)
        super().__init__(str(self.message))

    def __str__(self) -> str:
        """Return the message, which keeps its template and values wherever it is kept as text."""
        return self.message


class UsageError(Q2QError):
    """What was given is wrong; the sentence says where and what to do."""

    exit_code = 2


DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or a person's share of it, is full."""
_NEARLY_NOTHING = 256 << 10
"""Bytes free on a disk that counts as full: SQLite then reports failing reads and writes."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_POSTGRES_FULL = "53100"
_POSTGRES_LOCKED = ("55P03", "57014", "40P01", "40001")
"""Waited too long, cancelled, a deadlock, a conflict with another writer: try again."""
_POSTGRES_READ_ONLY = "25006"


T = TypeVar("T")


def existing(found: T | None, template: str, /, **values: object) -> T:
    """Return what was looked for.

    Raises:
        UsageError: There is none; ``template`` says so, with ``values``.
    """
    if found is None:
        raise UsageError(template, **values)
    return found


class StoreFault(Q2QError):
    """The store cannot be used now; nothing half-written is left."""


class StoreBusy(StoreFault):
    """Another program holds the write lock for longer than one waits."""

    def __init__(self, label: str) -> None:
        super().__init__(
            "Another program is writing to {label} and did not finish in time; nothing was"
            " written: try again.",
            label=label,
        )


class StoreAway(StoreBusy):
    """The database server went away while it was used, and did not come back in time."""

    def __init__(self, label: str) -> None:
        StoreFault.__init__(
            self,
            "The database {label} has gone away; see that it runs, and try again. What was stored"
            " is whole.",
            label=label,
        )


class StoreFull(StoreFault):
    """The disk of the store is full."""

    def __init__(self, label: str) -> None:
        super().__init__(
            "The disk of {label} is full; free some space and try again. What was stored is whole.",
            label=label,
        )


class StoreReadOnly(StoreFault):
    """The store may be read and not written."""

    def __init__(self, label: str) -> None:
        super().__init__(
            "{label} can only be read here, so nothing was written; give yourself the right to"
            " write to it and its folder, or set Q2Q_HOME to a folder that you may write to.",
            label=label,
        )


class StoreDamaged(StoreFault):
    """The file of the store is damaged, or no store."""

    def __init__(self, label: str, error: BaseException) -> None:
        super().__init__(
            "The store {label} cannot be used ({error}); `q2q doctor` checks it and `q2q restore`"
            " brings a backup back.",
            label=label,
            error=error,
        )


def fault_of(error: BaseException, label: str, path: Path | None = None) -> StoreFault | None:
    """Return what ``error`` of a database driver means; None where it is no fault of the store.

    Args:
        error: As the driver raised it.
        label: What the store is called in the sentence.
        path: Its file; None for a server.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return _sqlite_fault(error, code & 0xFF, label, path)
    state = getattr(error, "sqlstate", None)
    if state == _POSTGRES_FULL:
        return StoreFull(label)
    if state in _POSTGRES_LOCKED:
        return StoreBusy(label)
    if state == _POSTGRES_READ_ONLY:
        return StoreReadOnly(label)
    return None


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk on which ``folder`` lies or will lie."""
    there = next(one for one in (folder, *folder.parents) if one.is_dir())
    return shutil.disk_usage(there).free


def require_room(path: Path | None, n_bytes: int) -> None:
    """See that about so many bytes more fit on the disk of the store; a server sees to its own.

    Raises:
        StoreFault: They do not.
    """
    free = free_bytes(path.absolute().parent) if path is not None else n_bytes
    if free < n_bytes:
        raise StoreFault(
            "The disk of {path} has {free:.0f} MB free, and this needs about"
            " {n_bytes:.0f} MB; free some space and try again. Nothing was written.",
            path=path,
            free=free / 1e6,
            n_bytes=n_bytes / 1e6,
        )


def is_disk_full(folder: Path) -> bool:
    """Tell whether next to nothing fits on the disk of ``folder`` any more."""
    try:
        return shutil.disk_usage(folder).free < _NEARLY_NOTHING
    except OSError:
        return False


def _sqlite_fault(
    error: BaseException, code: int, label: str, path: Path | None
) -> StoreFault | None:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(label)
    is_io = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_FULL or (is_io and path is not None and is_disk_full(path.parent)):
        return StoreFull(label)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreReadOnly(label)
    if code in _DAMAGED:
        return StoreDamaged(label, error)
    if is_io:
        return StoreFault(
            "{label} could not be opened, read or written ({error}); see that its folder is there,"
            " that you may write to it and that its disk works, then try again.",
            label=label,
            error=error,
        )
    return None
