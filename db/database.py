"""Opening the store: pragmas, transaction control, short sessions. SQLite and PostgreSQL alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from db.errors import Q2QError

BUSY_TIMEOUT_MS = 30_000


class Database:
    """One store. Sessions are short: one per unit of work, never held across a request."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(q2q_write=True)
        self._reader = engine
        if not self.is_sqlite:
            # What SQLite gives by itself: all reads of one session see one moment.
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ")

    @property
    def is_sqlite(self) -> bool:
        """True for an SQLite file."""
        return self.engine.dialect.name == "sqlite"

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for a server."""
        name = self.engine.url.database
        return Path(name) if self.is_sqlite and name else None

    @property
    def label(self) -> str:
        """The file, or the URL without its password; for sentences that people read."""
        return str(self.path) if self.path else self.engine.url.render_as_string()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one consistent state and never waits for a writer."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session that may write; commits at the end, rolls back on an error.

        On SQLite the write lock is taken at once, so that reading before writing cannot fail.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file, whatever signs its path holds."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def open_database(url: str) -> Database:
    """Open the store at ``url``, an SQLAlchemy URL; the folder of an SQLite file is made.

    Raises:
        Q2QError: The file or server cannot be opened.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return Database(create_engine(parsed, pool_pre_ping=True))
    except (ArgumentError, ModuleNotFoundError) as error:
        raise Q2QError(
            "The database URL cannot be used; give sqlite:////folder/q2q.sqlite or"
            " postgresql+psycopg://user:password@host/name in Q2Q_DATABASE_URL."
        ) from error
    if parsed.database:
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Q2QError(
                f"The folder of {parsed.database} cannot be made ({error.strerror});"
                " set Q2Q_HOME to a folder that you may write to."
            ) from error
    engine = create_engine(parsed)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(engine)


def _prepare_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    # The driver must not open or close transactions by itself: DDL could then not be rolled back.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute("PRAGMA cache_size=-65536")
        cursor.execute("PRAGMA mmap_size=268435456")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("q2q_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def is_locked(error: OperationalError) -> bool:
    """Tell whether ``error`` says that another writer held the file for too long."""
    return "database is locked" in str(error.orig)
