"""Opening the store: pragmas, transaction control, short sessions. SQLite and PostgreSQL alike."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from db.errors import (
    Q2QError,
    StoreAway,
    StoreBusy,
    StoreFault,
    StoreFull,
    StoreReadOnly,
    fault_of,
    is_disk_full,
)

_T = TypeVar("_T")
BUSY_TIMEOUT_MS = 30_000
AWAY_S = 30.0
"""So long it is waited for a database server that went away, to be started again say."""
TRIES = 5
"""How often what another writer undid (a deadlock, a conflict) is done anew."""
WRITER_LOCK = 7_102_773
"""Any fixed number: on PostgreSQL whoever writes holds the advisory lock of this number."""


class Database:
    """One store. Sessions are short: one per unit of work, never held across a request."""

    def __init__(self, engine: Engine, *, unwritable: StoreFault | None = None) -> None:
        self.engine = engine
        self.unwritable = unwritable
        """Why this process can only read the store; None where it may write."""
        self.waits_for_server = True
        """False once this process is about to end: it then waits for no server that is away."""
        self._writer = engine.execution_options(q2q_write="alone")
        self._beside = engine.execution_options(q2q_write="concurrently")
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
    def write(self, *, concurrently: bool = False) -> Iterator[Session]:
        """Yield a session that may write; commits at the end, rolls back on an error.

        One writes at a time: the lock is taken at once, so that what was read before writing still
        holds. On SQLite that is the lock of the file, on PostgreSQL an advisory lock.

        Args:
            concurrently: On PostgreSQL, write beside others: for the recording of sweeps, claims
                and heartbeats, which unique keys and row locks keep right.

        Raises:
            StoreFault: The store can only be read.
            StoreBusy: Another program held the lock for longer than one waits.
            StoreFull: The disk is full; nothing was written.
        """
        if self.unwritable is not None:
            raise self.unwritable
        writer = self._beside if concurrently else self._writer
        with Session(writer, expire_on_commit=False) as session, session.begin():
            yield session

    def write_again(self, work: Callable[[Session], _T], *, concurrently: bool = True) -> _T:
        """Return what ``work`` does in a transaction, anew where another one undid it.

        Raises:
            StoreBusy: That happened ``TRIES`` times.
            StoreAway: The database server is away for longer than one waits.
        """
        away_at = time.monotonic() + AWAY_S
        for tries_left in reversed(range(TRIES)):
            try:
                with self.write(concurrently=concurrently) as session:
                    return work(session)
            except StoreBusy as error:
                is_away = isinstance(error, StoreAway) and time.monotonic() > away_at
                if not tries_left or is_away:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def can_write(session: Session) -> bool:
    """Say whether ``session`` is one of ``Database.write``."""
    return bool(session.get_bind().get_execution_options().get("q2q_write"))


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file, whatever signs its path holds."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def read_only_uri(path: Path) -> str:
    """Return the URI that opens an SQLite file only to read, also where nothing can be written.

    A store in WAL mode is opened through files beside it. Where these cannot be made, nobody who
    may not write either can tell them from a store at rest, and it is read as it lies.
    """
    log = Path(f"{path}-wal")
    is_at_rest = not log.exists() or not log.stat().st_size
    as_it_lies = is_at_rest and _unwritable(path) is not None
    return f"{path.absolute().as_uri()}?{'immutable=1' if as_it_lies else 'mode=ro'}"


def open_database(url: str) -> Database:
    """Open the store at ``url``, an SQLAlchemy URL; the folder of an SQLite file is made.

    Raises:
        Q2QError: The file or server cannot be opened.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            engine = create_engine(parsed, pool_pre_ping=True)
            database = _watched(Database(engine))
            event.listen(engine, "do_connect", _reconnector(database))
            event.listen(engine, "begin", _begin_postgres)
            return database
    except (ArgumentError, ModuleNotFoundError) as error:
        raise Q2QError(
            "The database URL cannot be used; give sqlite:////folder/q2q.sqlite or"
            " postgresql+psycopg://user:password@host/name in Q2Q_DATABASE_URL."
        ) from error
    path = Path(parsed.database) if parsed.database else None
    unwritable = _unwritable(path) if path is not None else None
    if path is not None and unwritable is None:
        _make_folder(path)
    engine = create_engine(parsed)
    if path is not None and unwritable is not None:
        event.listen(engine, "do_connect", _opener(path))
    event.listen(engine, "connect", _prepare_to_read if unwritable else _prepare_to_write)
    event.listen(engine, "begin", _begin_sqlite)
    return _watched(Database(engine, unwritable=unwritable))


def _unwritable(path: Path) -> StoreFault | None:
    """Say why the file at ``path``, if there is one, can only be read."""
    if not path.is_file():
        return None
    folder = path.absolute().parent
    if not os.access(path, os.W_OK) or not os.access(folder, os.W_OK):
        return StoreReadOnly(str(path))
    if is_disk_full(folder) and not Path(f"{path}-shm").exists():
        return StoreFull(str(path))
    return None


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(next(one for one in path.absolute().parents if one.exists())):
            raise StoreFull(str(path)) from error
        raise Q2QError(
            "The folder of {path} cannot be made ({error});"
            " set Q2Q_HOME to a folder that you may write to.",
            path=path,
            error=error.strerror,
        ) from error
    if not path.exists() and not os.access(path.absolute().parent, os.W_OK):
        raise Q2QError(
            "{path} cannot be made, since its folder can only be read here;"
            " set Q2Q_HOME to a folder that you may write to.",
            path=path,
        )


def _opener(path: Path) -> Callable[[Any, Any, list[Any], dict[str, Any]], None]:
    def open_to_read(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> None:
        arguments[:] = [read_only_uri(path)]
        options["uri"] = True

    return open_to_read


def _reconnector(database: Database) -> Callable[[Any, Any, list[Any], dict[str, Any]], Any]:
    """Connect at once or not at all the first time; later wait for a server that went away."""
    has_connected = False

    def connect(dialect: Any, _: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        nonlocal has_connected
        deadline = time.monotonic() + AWAY_S
        while True:
            try:
                connection = dialect.connect(*arguments, **options)
                _limit_waiting(connection)
            except dialect.loaded_dbapi.OperationalError as error:
                if not has_connected:
                    raise
                if time.monotonic() > deadline or not database.waits_for_server:
                    raise StoreAway(database.label) from error
                time.sleep(0.2)
            else:
                has_connected = True
                return connection

    return connect


def _watched(database: Database) -> Database:
    """Give what the driver reports of locks, disks and rights as a sentence, wherever it comes."""

    def as_fault(context: ExceptionContext) -> BaseException | None:
        if context.is_disconnect and not context.is_pre_ping and not database.is_sqlite:
            return StoreAway(database.label)
        return fault_of(context.original_exception, database.label, database.path)

    event.listen(database.engine, "handle_error", as_fault)
    return database


def _prepare_to_write(connection: Any, entry: ConnectionPoolEntry) -> None:
    _prepare_to_read(connection, entry)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    # Writing zeroes over what is deleted, a default of some builds, doubles the work of the search
    # index; fewer and larger checkpoints write each page less often.
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    connection.execute("PRAGMA foreign_keys=ON")


def _prepare_to_read(connection: Any, _: ConnectionPoolEntry) -> None:
    # The driver must not open or close transactions by itself: DDL could then not be rolled back.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA mmap_size=268435456")


def _limit_waiting(connection: Any) -> None:
    connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    connection.commit()


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get("q2q_write") == "alone":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("q2q_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


LONGEST_S = 0.05
"""A transaction that has lasted so long is committed."""
REST_S = 0.03
"""Rest after a transaction at least; who waits for the lock looks every 25 ms at first."""


class ShortTransactions(ExitStack):
    """One open transaction after the other; leaving the context commits or rolls back."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._session: Session | None = None
        self._since = 0.0

    def open(self) -> Session:
        """Return the session of the open transaction; begin one if there is none."""
        if self._session is None:
            self._session = self.enter_context(self._database.write())
            self._session.connection()  # takes the lock
            self._since = time.monotonic()
        return self._session

    def rest(self) -> None:
        """Commit and let others write, if the transaction has lasted long enough."""
        lasted_s = time.monotonic() - self._since
        if self._session is not None and lasted_s > LONGEST_S:
            self.commit()
            time.sleep(max(REST_S, lasted_s / 2))

    def commit(self) -> None:
        """Commit the open transaction, if there is one."""
        self._session = None
        self.close()
