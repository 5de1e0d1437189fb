"""Opening the store of a home: a new one is completed, an older one upgraded on demand.

``python -m db.store.migrate`` upgrades the store of the settings, after a backup and under the lock
of the home; ``python -m db.store.migrate revision "what changed"`` writes the next migration.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db.database import Database, open_database
from db.errors import Q2QError, UsageError
from db.identity import short_hash
from db.locks import WORKER_LOCK, try_lock
from db.settings import Settings, load_settings, settings
from db.store.backup import backup, backup_name, dump_command
from db.store.schema import MigrationStatus, status, upgrade, write_revision
from db.tables import PromptFormat

__all__ = ["MigrationStatus", "open_home", "open_store", "status", "upgrade", "upgrade_store"]
log = logging.getLogger(__name__)


def open_store(settings: Settings) -> Database:
    """Open the store of ``settings``; an empty one is completed at once.

    Raises:
        Q2QError: It cannot be opened, is no store of ours, or is older or newer than the program.
    """
    database = open_database(settings.database)
    try:
        state = _status(database)
        if state.is_empty:
            upgrade(database)
        elif not state.is_current:
            raise Q2QError(
                "The store {database_label} is of an older version (schema {current}, this"
                " program needs {head}); run `q2q up` or `make setup`, which back it up and"
                " upgrade it.",
                database_label=database.label,
                current=state.current,
                head=state.head,
            )
    except SQLAlchemyError as error:
        database.close()
        raise _unusable(database, error) from error
    except Q2QError:
        database.close()
        raise
    return database


def upgrade_store(settings: Settings) -> Path | None:
    """Upgrade the store of ``settings`` under the lock of its home, after a backup.

    Returns:
        The backup; None where nothing was there to lose (and on PostgreSQL).

    Raises:
        Q2QError: A worker is running, or a step failed; the store is then as it was.
    """
    database = open_database(settings.database)
    try:
        state = _status(database)
        if state.is_current:
            return None
        if state.is_empty:
            upgrade(database)
            return None
        return _upgrade_used(database, settings.home_dir, state)
    except SQLAlchemyError as error:
        raise _unusable(database, error) from error
    finally:
        database.close()


def _upgrade_used(database: Database, home: Path, state: MigrationStatus) -> Path | None:
    lock = try_lock(home / WORKER_LOCK)
    if lock is None:
        raise Q2QError(
            "The store {database_label} needs an upgrade, but a worker is running on {home};"
            " stop it (Ctrl-C in the terminal of `q2q up`) and try again.",
            database_label=database.label,
            home=home,
        )
    with lock:
        copy: Path | None = None
        if database.is_sqlite:
            copy = backup(database, home / "backups" / backup_name(f"before-{state.head}")).path
        else:
            log.warning("No backup is made of a server; to make one: %s", dump_command(database))
        try:
            upgrade(database)
        except SQLAlchemyError as error:
            raise Q2QError(
                "The upgrade of {database_label} from schema {current} to {head}"
                " failed and changed nothing ({reason}).",
                database_label=database.label,
                current=state.current,
                head=state.head,
                reason=_reason(error),
            ) from error
        return copy


def _status(database: Database) -> MigrationStatus:
    state = status(database)
    if state.is_known:
        return state
    if state.current is None:
        raise Q2QError(
            "The database {database_label} holds tables of another program; set Q2Q_DATABASE_URL"
            " to an empty one.",
            database_label=database.label,
        )
    raise Q2QError(
        "The store {database_label} was made by a newer version (schema {current}, this"
        " program knows up to {head}); update the program.",
        database_label=database.label,
        current=state.current,
        head=state.head,
    )


def _unusable(database: Database, error: SQLAlchemyError) -> Q2QError:
    return Q2QError(
        "The store {database_label} cannot be used ({reason}); `q2q doctor` checks it and"
        " `q2q restore` brings a backup back.",
        database_label=database.label,
        reason=_reason(error),
    )


def _reason(error: SQLAlchemyError) -> str:
    """Return what the database said, in one line."""
    cause = str(getattr(error, "orig", None) or error)
    return cause.strip().splitlines()[0]


def write_next_revision(message: str) -> Path:
    """Write a migration from what the models have and a store at head has not."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/q2q.sqlite")
        try:
            upgrade(database)
            return write_revision(database, message)
        finally:
            database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m db.store.migrate", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("upgrade", "revision"), default="upgrade")
    parser.add_argument("message", nargs="?", help="what a new revision changes")
    given = parser.parse_args(arguments)
    try:
        if given.command == "upgrade":
            copy = upgrade_store(settings())
            line = f"Upgraded; the backup is {copy}." if copy else "The store is up to date."
        elif given.message:
            line = f"Wrote {write_next_revision(given.message)}; read and complete it."
        else:
            raise UsageError('Say what changes: make migration m="add a column".')
    except Q2QError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())


def store_mark(session: Session) -> str | None:
    """Return 32 hexadecimal digits that stay with the store, and with copies of it.

    They come from the moment at which its first prompt format was stored; None before that.
    """
    born = session.scalar(select(func.min(PromptFormat.created_at)))
    return short_hash(born.isoformat()) if born else None


@contextmanager
def open_home() -> Iterator[tuple[Settings, Database]]:
    """Yield the settings and the store; an empty home is completed first."""
    settings = load_settings()
    database = open_store(settings)
    try:
        yield settings, database
    finally:
        database.close()
