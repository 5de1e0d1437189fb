"""Imports that are all or nothing without keeping the write lock: staged, published, taken back.

An import keeps ids for its rows (``reserve``), writes them in short transactions, and ``publish``
shows them to everybody at once. What an import left that was killed, ``tidy`` removes; where it was
published already, ``tidy`` completes it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Table, delete, exists, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.bulk import insert_missing, table_of
from db.database import Database, ShortTransactions
from db.errors import Q2QError
from db.locks import try_lock
from db.tables import (
    Answer,
    Base,
    CheckFlag,
    ModelVersion,
    PendingChange,
    Question,
    QuestionTag,
    Rater,
    Rating,
    ReasoningVariant,
    SearchText,
    SentenceUse,
    StagedRange,
    Tag,
    utc_now,
)

IMPORT_LOCK = "import.lock"
WAIT_S = 10.0
"""Most imports are done within this time; the next one waits for them."""
_LOOK_EVERY_S = 0.05
_T = TypeVar("_T")
_ADVISORY_LOCK = 7_102_772
_CHUNK = 500


_STAGED = tuple(
    map(
        table_of,
        (Question, ReasoningVariant, Answer, SearchText, CheckFlag, SentenceUse, Rating),
    )
)
"""Tables of an import's rows, in the order in which they refer to each other."""
_SIDE = tuple(map(table_of, (Tag, Rater, ModelVersion)))
"""Tables whose new rows are there at once; one that nothing refers to goes with the import."""
_QUESTION_TAG, _RANGE, _PENDING = map(table_of, (QuestionTag, StagedRange, PendingChange))


class ImportRuns(Q2QError):
    """Another import into the store is under way."""


@contextmanager
def import_lock(database: Database, wait_s: float | None = None) -> Iterator[None]:
    """Be the one import of the store; the lock ends with its process, however that ends.

    Args:
        database: The store.
        wait_s: How long another import is waited for; None: ``WAIT_S``.

    Raises:
        ImportRuns: Another one is under way.
    """
    refusal = ImportRuns(
        "Another import into {database_label} is under way; try again when it is done.",
        database_label=database.label,
    )
    if database.path is not None:
        if database.unwritable is not None:
            raise database.unwritable
        path = database.path.absolute().with_name(IMPORT_LOCK)
        with _waited_for(lambda: try_lock(path), wait_s, refusal):
            yield
        return
    with database.engine.connect() as connection:
        take = text(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})")
        _waited_for(lambda: connection.scalar(take) or None, wait_s, refusal)
        connection.commit()
        try:
            yield
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})"))


def _waited_for(take: Callable[[], _T | None], wait_s: float | None, refusal: ImportRuns) -> _T:
    deadline = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    while (taken := take()) is None:
        if time.monotonic() >= deadline:
            raise refusal
        time.sleep(_LOOK_EVERY_S)
    return taken


def reserve(
    session: Session, counts: Mapping[str, int], rater_id: int | None = None
) -> dict[str, int]:
    """Keep ids for an import, so many for each table; return the first one of each.

    A row behind them keeps SQLite from giving them to others; it goes with the publication.

    Args:
        session: That writes.
        counts: Name of a table → rows to come.
        rater_id: Who judges, where ratings are among them.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for table in _STAGED:
        name, count = table.name, counts.get(table.name, 0)
        if count or name in ("question", "reasoning_variant"):
            first[name] = _next_ids(session, table, count + 1)
            last[name] = first[name] + count
            _note_range(session, name, first[name], last[name])
            session.execute(insert(table), {"id": last[name], **_behind(name, last, rater_id)})
    return first


def side_rows(session: Session) -> dict[str, int]:
    """Return the last id of each table whose new rows are there at once: tags and raters."""
    return {table.name: session.scalar(select(func.max(table.c.id))) or 0 for table in _SIDE}


def note_side_rows(session: Session, before: Mapping[str, int]) -> None:
    """Note which of them came after ``before``, so that they go if the import does not happen."""
    for name, last_id in side_rows(session).items():
        if last_id > before[name]:
            _note_range(session, name, before[name] + 1, last_id)


def _note_range(session: Session, name: str, first_id: int, last_id: int) -> None:
    values = {"table_name": name, "first_id": first_id, "last_id": last_id}
    session.execute(insert(_RANGE), values)


def publish(session: Session) -> None:
    """Show the import's rows to everybody once ``session`` commits."""
    ends = dict(session.execute(select(_RANGE.c.table_name, _RANGE.c.last_id)).all())
    for table in reversed(_STAGED):
        if table.name in ends:
            session.execute(delete(table).where(table.c.id == ends[table.name]))
    session.execute(delete(_RANGE))


def take_back(database: Database) -> None:
    """Remove what an unpublished import has written, in short transactions."""
    with database.read() as session:
        found = session.execute(select(_RANGE)).all()
    ranges = {name: (first_id, last_id) for name, first_id, last_id in found}
    if not ranges:
        return
    with ShortTransactions(database) as short:
        while _forget_some(short.open()):
            short.rest()
        for table in reversed(_STAGED):
            for first, last, is_end in _pieces(*ranges.get(table.name, (1, 0))):
                _remove(short.open(), table, first, last)
                if is_end:  # with the row behind them, or others could get ids that are hidden
                    _end_range(short.open(), table)
                short.rest()
        for table in _SIDE:
            _remove_unused(short.open(), table, *ranges.get(table.name, (1, 0)))
            _end_range(short.open(), table)


def tidy(database: Database) -> None:
    """Remove what a killed import left, or complete it; one that is under way is left alone."""
    if database.unwritable is not None or not _is_left(database):
        return
    try:
        with import_lock(database, wait_s=0):
            tidy_alone(database)
    except ImportRuns:
        return


def tidy_alone(database: Database) -> None:
    """Do the same under the import lock."""
    with database.read() as session:
        is_staged = session.scalar(select(exists(select(_RANGE))))
    if is_staged:
        take_back(database)
    apply_pending(database)


def _is_left(database: Database) -> bool:
    with database.read() as session:
        staged, pending = exists(select(_RANGE)), exists(select(_PENDING))
        return bool(session.scalar(select(staged | pending)))


def _next_ids(session: Session, table: Table, count: int) -> int:
    """Return the first of ``count`` ids in a row that nobody else gets."""
    if session.get_bind().dialect.name == "sqlite":
        return (session.scalar(select(func.max(table.c.id))) or 0) + 1
    session.execute(text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))
    sequence = func.pg_get_serial_sequence(table.name, "id")
    first = session.scalar(select(func.nextval(sequence))) or 1
    session.execute(select(func.setval(sequence, first + count - 1)))
    return first


def _behind(name: str, last: Mapping[str, int], rater_id: int | None) -> dict[str, Any]:
    """Return the values of the row behind the ids of a table."""
    now, key = utc_now(), uuid4().hex
    question = {"question_id": last["question"]}
    text_row = {"text": "-", "source": "imported", "content_hash": key, "created_at": now}
    if name == "question":
        return text_row | {"context": "", "role": "assistant"}
    if name in ("reasoning_variant", "answer"):
        return text_row | question
    if name == "search_text":
        return {"kind": "staged", "text_id": last["question"], "terms": ""}
    if name == "check_flag":
        return {"variant_id": last["reasoning_variant"], "name": "staged"}
    if name == "sentence_use":
        return question | {"sentence_hash": 0, "variant_id": last["reasoning_variant"]}
    judged = {"rater_id": rater_id, "scope": "question", "axis": "ok", "value": 0.0}
    return (
        question
        | judged
        | {"blind": False, "answer_seen": False, "card_id": key}
        | {"created_at": now}
    )


def _pieces(first: int, last: int) -> Iterator[tuple[int, int, bool]]:
    for start in range(first, last + 1, _CHUNK):
        yield start, min(start + _CHUNK - 1, last), start + _CHUNK > last


def _remove(session: Session, table: Table, first: int, last: int) -> None:
    if table.name == "question":
        session.execute(
            delete(_QUESTION_TAG).where(_QUESTION_TAG.c.question_id.between(first, last))
        )
    session.execute(delete(table).where(table.c.id.between(first, last)))


def _forget_some(session: Session) -> bool:
    some = select(_PENDING.c.id).order_by(_PENDING.c.id).limit(_CHUNK)
    ids = session.scalars(some).all()
    session.execute(delete(_PENDING).where(_PENDING.c.id.in_(ids)))
    return bool(ids)


def _end_range(session: Session, table: Table) -> None:
    session.execute(delete(_RANGE).where(_RANGE.c.table_name == table.name))


def _remove_unused(session: Session, table: Table, first: int, last: int) -> None:
    for row_id in range(first, last + 1):
        if table.name == "tag" and session.scalar(
            select(exists(select(_QUESTION_TAG).where(_QUESTION_TAG.c.tag_id == row_id)))
        ):
            continue
        try:
            with session.begin_nested():
                session.execute(delete(table).where(table.c.id == row_id))
        except IntegrityError:  # somebody has used it meanwhile
            continue


def apply_pending(database: Database) -> None:
    """Apply all changes that wait, in short transactions."""
    with ShortTransactions(database) as short:
        while apply_some(short.open()):
            short.rest()


def apply_some(session: Session) -> bool:
    """Apply the changes that have waited longest; tell whether there were any.

    Each is applied with the deletion of its row, so that a killed process loses none.
    """
    rows = session.execute(select(_PENDING).order_by(_PENDING.c.id).limit(_CHUNK)).all()
    if not rows:
        return False
    for row in rows:
        if row.kind == "details":
            _fill(session, row.row_id, row.payload)
    for kind, (entity, column) in _ADDED.items():
        values = [{column: row.row_id, **row.payload} for row in rows if row.kind == kind]
        insert_missing(session, entity, values)
    session.execute(delete(_PENDING).where(_PENDING.c.id <= rows[-1].id))
    return True


_ADDED: dict[str, tuple[type[Base], str]] = {
    "tag": (QuestionTag, "question_id"),
    "variant_flag": (CheckFlag, "variant_id"),
    "answer_flag": (CheckFlag, "answer_id"),
}
"""Kinds of changes that are new rows: their table, and its column for what they are added to."""


def _fill(session: Session, question_id: int, given: dict[str, Any]) -> None:
    """Give a question the details that it lacks; a value that somebody gave meanwhile stays."""
    table = table_of(Question)
    values = {name: func.coalesce(func.nullif(table.c[name], ""), given[name]) for name in given}
    session.execute(update(table).where(table.c.id == question_id).values(values))
