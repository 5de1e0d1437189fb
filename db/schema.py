"""The schema of one store and its revisions; which store, and when, is decided elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from db.database import Database
from db.errors import Q2QError
from db.views import create_views, drop_views

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

# Any fixed number: two upgrades of one PostgreSQL store wait for each other on it.
ADVISORY_LOCK = 7_102_771


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """Where a store stands among the revisions that this program knows."""

    current: str | None
    """Its revision; None for a store without tables."""
    head: str
    """The newest revision."""
    is_known: bool
    """False where a newer program made the store, or where it is no store of ours."""

    @property
    def is_empty(self) -> bool:
        """True where nothing has been made yet."""
        return self.current is None and self.is_known

    @property
    def is_current(self) -> bool:
        """True where nothing is left to upgrade."""
        return self.current == self.head


def status(database: Database) -> MigrationStatus:
    """Return where ``database`` stands; reads only, and loads no migration."""
    with database.engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        current: str | None = None
        if "alembic_version" in tables:
            current = connection.scalar(text("SELECT version_num FROM alembic_version"))
    known = _revisions()
    is_known = current in known if current is not None else not tables - {"alembic_version"}
    return MigrationStatus(current=current, head=known[-1], is_known=is_known)


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring ``database`` to ``revision``: all of it, or none where a step fails.

    Other processes may read meanwhile; two upgrades at once wait for each other.

    Raises:
        Q2QError: The result would hold broken references.
    """
    from alembic import command  # takes a while to load, and most commands need no upgrade

    with _schema_change(database) as connection:
        drop_views(connection)
        command.upgrade(_config(connection), revision)
        if revision in {"head", _revisions()[-1]}:
            create_views(connection)
        _check_references(connection)


def write_revision(database: Database, message: str) -> Path:
    """Write the next migration: what the models have and ``database``, at head, has not.

    Returns:
        The new file, to be read and completed by hand.
    """
    from alembic import command

    number = f"{int(_revisions()[-1]) + 1:04d}"
    with database.engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True, rev_id=number)
    return next((MIGRATIONS / "versions").glob(f"{number}_*.py"))


def _revisions() -> list[str]:
    """Return all revisions, oldest first: a file is named by its revision and its subject."""
    return sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _schema_change(database: Database) -> Iterator[Connection]:
    """Yield a connection in one transaction that no second upgrade can enter.

    Tables are rebuilt on SQLite; with foreign keys on, dropping the old one would delete its
    children. The switch does nothing inside a transaction, hence it is thrown outside.
    """
    with database.engine.connect().execution_options(q2q_write=True) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if database.is_sqlite:
            driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                if not database.is_sqlite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
                yield connection
        finally:
            if database.is_sqlite:
                driver.execute("PRAGMA foreign_keys=ON")


def _check_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        table, _, target, _ = broken[0]
        raise Q2QError(
            f"{len(broken)} rows would point at nothing (the first: {table} to {target}),"
            " so nothing was changed; please report this with the program's version."
        )
