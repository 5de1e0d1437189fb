"""What an import adds to rows that were there before, applied once it is published.

Each change is applied with the deletion of its row, so that a killed process loses none: the next
import, ``q2q up`` or the worker goes on. A value that somebody has given meanwhile stays.
"""

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Row, Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.database import Database
from db.tables import CheckFlag, PendingChange, Question, QuestionTag
from db.transactions import ShortTransactions

_CHUNK = 500
_PENDING = cast(Table, PendingChange.__table__)


def apply_pending(database: Database) -> None:
    """Apply all changes that wait, in short transactions."""
    with ShortTransactions(database) as short:
        while apply_some(short.open()):
            short.rest()


def apply_some(session: Session) -> bool:
    """Apply the changes that have waited longest; tell whether there were any."""
    rows = session.execute(select(_PENDING).order_by(_PENDING.c.id).limit(_CHUNK)).all()
    if not rows:
        return False
    for kind in ("details", "tag", "variant_flag", "answer_flag"):
        some = [row for row in rows if row.kind == kind]
        if some:
            _apply(session, kind, some)
    session.execute(delete(_PENDING).where(_PENDING.c.id <= rows[-1].id))
    return True


def _apply(session: Session, kind: str, rows: Sequence[Row[Any]]) -> None:
    if kind == "details":
        for row in rows:
            _fill(session, row.row_id, row.payload)
        return
    if kind == "tag":
        values = [{"question_id": row.row_id, **row.payload} for row in rows]
        _insert_new(session, QuestionTag, values)
        return
    column = "variant_id" if kind == "variant_flag" else "answer_id"
    _insert_new(session, CheckFlag, [{column: row.row_id, **row.payload} for row in rows])


def _fill(session: Session, question_id: int, given: dict[str, Any]) -> None:
    """Give a question the details that it lacks."""
    table = cast(Table, Question.__table__)
    values = {name: func.coalesce(func.nullif(table.c[name], ""), given[name]) for name in given}
    session.execute(update(table).where(table.c.id == question_id).values(values))


def _insert_new(session: Session, entity: type[Any], values: Sequence[dict[str, Any]]) -> None:
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    table = cast(Table, entity.__table__)
    if is_sqlite:
        session.connection().execute(sqlite.insert(table).on_conflict_do_nothing(), values)
    else:
        session.connection().execute(postgresql.insert(table).on_conflict_do_nothing(), values)
