"""Copies of a store that are whole, made while everything runs, and bringing one back."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from db.database import Database, open_database, read_only_uri, sqlite_url
from db.errors import Q2QError, StoreFull, UsageError, is_disk_full
from db.locks import WORKER_LOCK, try_lock
from db.settings import Settings
from db.store.schema import status, upgrade

SIDE_FILES = ("-wal", "-shm")
"""Files that SQLite keeps beside a store in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupResult:
    """A finished copy."""

    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What a restore put in place."""

    path: Path
    replaced: Path | None
    """Where the store that was there before lies now; None where there was none."""
    upgraded_from: str | None
    """The schema of the backup, where it had to be upgraded."""


def backup_name(label: str = "") -> str:
    """Return a file name for a backup made now, in UTC."""
    suffix = f"-{label}" if label else ""
    return f"q2q-{_stamp()}{suffix}.sqlite"


def dump_command(database: Database) -> str:
    """Return the command that backs a PostgreSQL store up; it asks for the password."""
    return f"pg_dump --format=custom --file=q2q.dump '{_plain_url(database)}'"


def backup(database: Database, target: Path) -> BackupResult:
    """Copy the store to ``target``, a new file or a folder, while others read and write.

    The copy is one consistent moment. It is written beside, checked, and only then named.

    Raises:
        UsageError: ``target`` exists already.
        Q2QError: It could not be made; nothing is left behind.
    """
    source = database.path
    if source is None:
        raise Q2QError(
            "A PostgreSQL store is backed up by its own tool: {dump_command}",
            dump_command=dump_command(database),
        )
    if target.is_dir():
        target = target / backup_name()
    if target.exists():
        raise UsageError(
            "{target} exists already and is not overwritten; give another name.", target=target
        )
    with _part_of(target) as part:
        _copy(source, part)
        part.replace(target)
    return BackupResult(path=target, size_bytes=target.stat().st_size)


def restore(settings: Settings, source: Path) -> RestoreResult:
    """Put the backup ``source`` in the place of the store of ``settings``.

    The store that was there is kept beside, under another name. A backup of an older version is
    upgraded; ``source`` itself is only read.

    Raises:
        UsageError: ``source`` is no whole backup of a store.
        Q2QError: The store is in use, or the copy failed; nothing was changed.
    """
    database = open_database(settings.database)
    database.close()
    if database.path is None:
        raise Q2QError(
            "A PostgreSQL store is restored by its own tool: pg_restore --clean --if-exists"
            " --dbname='{plain_url}' q2q.dump",
            plain_url=_plain_url(database),
        )
    revision = _check_backup(source)
    lock = try_lock(settings.home_dir / WORKER_LOCK)
    if lock is None:
        raise Q2QError(
            "A worker is running on {home_dir}; stop it (Ctrl-C in the terminal of"
            " `q2q up`), then restore.",
            home_dir=settings.home_dir,
        )
    with lock, _part_of(database.path) as part:
        _copy(source, part)
        upgraded = _upgrade_copy(part, source)
        return RestoreResult(
            path=database.path,
            replaced=_swap(part, database.path),
            upgraded_from=revision if upgraded else None,
        )


def _check_backup(source: Path) -> str:
    """Return the schema revision of ``source``, a whole store of ours."""
    if not source.is_file():
        raise UsageError(
            "{source} is not a file; give a backup made by `q2q backup`.", source=source
        )
    try:
        with closing(sqlite3.connect(read_only_uri(source), uri=True)) as reader:
            revision = reader.execute("SELECT version_num FROM alembic_version").fetchone()
            ours = reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'reasoning_variant'")
            if revision is None or ours.fetchone() is None:
                raise UsageError("{source} is not a store of the workbench.", source=source)
            _check_integrity(reader, source)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if "no such table" in str(error):
            raise UsageError("{source} is not a store of the workbench.", source=source) from error
        raise UsageError(
            "{source} cannot be read as a store ({error}); give a backup made by `q2q backup`.",
            source=source,
            error=error,
        ) from error
    return str(revision[0])


def _upgrade_copy(part: Path, source: Path) -> bool:
    """Bring the copy of ``source`` up to date; tell whether there was anything to do."""
    database = open_database(sqlite_url(part))
    try:
        state = status(database)
        if not state.is_known:
            raise UsageError(
                "{source} was made by a newer version (schema {current}, this program knows"
                " up to {head}); update the program.",
                source=source,
                current=state.current,
                head=state.head,
            )
        if state.is_current:
            return False
        upgrade(database)
        return True
    except SQLAlchemyError as error:
        raise Q2QError(
            "{source} could not be upgraded, nothing was changed: {error}",
            source=source,
            error=error,
        ) from error
    finally:
        database.close()


def _swap(part: Path, store: Path) -> Path | None:
    """Name ``part`` as ``store``, and keep the file that was there; return where."""
    if not store.exists():
        part.replace(store)
        return None
    _end_use(store)
    old = store.with_name(f"{store.name}.before-restore-{_stamp()}")
    for side in SIDE_FILES:  # left only beside a store that is damaged
        if (found := Path(f"{store}{side}")).exists():
            found.rename(f"{old}{side}")
    old.hardlink_to(store)
    part.replace(store)
    return old


def _end_use(store: Path) -> None:
    """Write the log of ``store`` into it, which works only where nobody else has it open."""
    try:
        with closing(sqlite3.connect(store, timeout=1)) as alone:
            alone.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise Q2QError(
                "{store} cannot be replaced ({error}).", store=store, error=error
            ) from error
        raise Q2QError(
            "{store} is open in another process, such as the app; stop it, then restore.",
            store=store,
        ) from error
    except sqlite3.DatabaseError:
        return  # damaged: that is why a backup is restored


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write to; whatever is left there is removed."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
        finally:
            for suffix in ("", "-journal", *SIDE_FILES):
                Path(f"{part}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise Q2QError(
            "{target} could not be written ({error}).", target=target, error=error.strerror
        ) from error


def _copy(source: Path, part: Path) -> None:
    """Copy one consistent moment of ``source`` to ``part``, a single file on disk."""
    try:
        with (
            closing(sqlite3.connect(read_only_uri(source), uri=True)) as reader,
            closing(sqlite3.connect(part)) as writer,
        ):
            reader.backup(writer)
            writer.execute("PRAGMA journal_mode=DELETE")
            _check_integrity(writer, source)
    except sqlite3.Error as error:
        if is_disk_full(part.parent):
            raise StoreFull(str(part.parent)) from error
        raise Q2QError(
            "{source} could not be copied to {parent} ({error}); see that the disk has"
            " room and that the folder may be written to.",
            source=source,
            parent=part.parent,
            error=error,
        ) from error
    with part.open("rb") as written:
        os.fsync(written.fileno())


def _check_integrity(connection: sqlite3.Connection, source: Path) -> None:
    finding = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if finding != "ok":
        raise UsageError(
            "{source} is damaged ({finding}); give another backup.", source=source, finding=finding
        )


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def _plain_url(database: Database) -> str:
    """Return the URL as PostgreSQL's own tools take it, without password."""
    url = database.engine.url
    plain = URL.create(
        "postgresql", url.username, None, url.host, url.port, url.database, url.query
    )
    return plain.render_as_string()
