"""Understood rows on their way into the store: a file of our own, read and written in batches.

It holds what an import adds, each row with a number from 1 in its kind. Questions that the store
has already are in it too, under their id with a minus; so are their reasonings where an answer
stands under one. The file has no name: it goes with the process, however that ends.
"""

import gc
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from db.database import Database
from db.errors import fault_of

_TABLES = """
CREATE TABLE question (n INTEGER PRIMARY KEY, position INTEGER, content_hash TEXT, text TEXT,
    context TEXT, role TEXT, reference_answer TEXT, answer_check TEXT, category TEXT, language TEXT,
    external_id TEXT, fields TEXT, held_out INTEGER, gains INTEGER);
CREATE UNIQUE INDEX question_hash ON question (content_hash);
CREATE TABLE tag (question_n INTEGER, name TEXT, PRIMARY KEY (question_n, name)) WITHOUT ROWID;
CREATE TABLE variant (n INTEGER PRIMARY KEY, question_n INTEGER, content_hash TEXT, text TEXT);
CREATE INDEX variant_question ON variant (question_n);
CREATE TABLE answer (n INTEGER PRIMARY KEY, question_n INTEGER, variant_n INTEGER,
    variant_hash TEXT, content_hash TEXT, text TEXT);
CREATE INDEX answer_question ON answer (question_n);
CREATE TABLE flag (variant_n INTEGER, answer_n INTEGER, name TEXT, detail TEXT);
CREATE UNIQUE INDEX flag_variant ON flag (variant_n, name) WHERE variant_n IS NOT NULL;
CREATE UNIQUE INDEX flag_answer ON flag (answer_n, name) WHERE answer_n IS NOT NULL;
CREATE TABLE sentence (sentence_hash INTEGER, question_n INTEGER, variant_n INTEGER,
    answer_n INTEGER);
CREATE TABLE boilerplate (sentence_hash INTEGER PRIMARY KEY, detail TEXT);
CREATE TABLE staged (n INTEGER PRIMARY KEY, file_n INTEGER, line INTEGER, content_hash TEXT,
    held_out INTEGER, is_raw INTEGER, row TEXT);
CREATE INDEX staged_hash ON staged (content_hash);
CREATE TABLE border (content_hash TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE judgement (n INTEGER PRIMARY KEY, card TEXT UNIQUE, question_hash TEXT, scope TEXT,
    label INTEGER, file TEXT, variant_hash TEXT, answer_hash TEXT, is_pair INTEGER,
    worse_variant_hash TEXT, worse_answer_hash TEXT);
CREATE TABLE tag_id (name TEXT PRIMARY KEY, id INTEGER) WITHOUT ROWID;
"""
_PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536")
BATCH = 1_000


class Spool(AbstractContextManager["Spool"]):
    """The file. Leaving it as a context manager removes it.

    Raises:
        StoreFault: Its disk is full.
    """

    def __init__(self, database: Database) -> None:
        self._label = database.label
        self._folder = _folder_of(database)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".import-") as file:
            self._connection = sqlite3.connect(
                file.name, isolation_level=None, check_same_thread=False
            )
            for pragma in _PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
            self._run(lambda: self._connection.executescript(_TABLES))
        self._connection.execute("BEGIN")

    def select(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows of a query."""
        return iter(self._run(lambda: self._connection.execute(statement, values)))

    def first(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Return the first value of a query's first row."""
        return next(self.select(statement, values))[0]

    def batches(
        self, statement: str, values: Sequence[Any] = (), *, size: int = BATCH
    ) -> Iterator[list[Any]]:
        """Yield the rows of a query in batches."""
        cursor = self._run(lambda: self._connection.execute(statement, values))
        while rows := cursor.fetchmany(size):
            yield rows

    def among(self, statement: str, values: Iterable[Any]) -> Iterator[Any]:
        """Yield the rows of a query that ends in ``IN``, for ``values``."""
        values = list(values)
        return self.select(f"{statement} ({', '.join('?' * len(values))})", values)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows with a value for each column; one that is there already stays."""
        if rows:
            places = ", ".join("?" * len(rows[0]))
            self.change(f"INSERT OR IGNORE INTO {table} VALUES ({places})", rows)

    def change(self, statement: str, rows: Iterable[Sequence[Any]] = ((),)) -> None:
        """Run a statement, for each of ``rows`` where it takes values."""
        self._run(lambda: self._connection.executemany(statement, rows))

    @property
    def n_bytes(self) -> int:
        """Its size."""
        return int(
            self.first("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        )

    def close(self) -> None:
        """Remove the file."""
        self._connection.close()

    def _run(self, work: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        try:
            return work()
        except sqlite3.Error as error:
            fault = fault_of(error, str(self._folder), self._folder / "import")
            raise fault or error from error

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        self.close()


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles among the many objects of a batch; there are none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _folder_of(database: Database) -> Path:
    """Return the folder of the store, whose disk has room for it; a temporary one for a server."""
    if database.path is None or database.unwritable is not None:
        return Path(tempfile.gettempdir())
    return database.path.absolute().parent
