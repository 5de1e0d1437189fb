"""What people put away instead of deleting it, and bring back: one mechanism for all that has it.

What is archived stays in the store with all that points at it: ratings, lineage, frozen datasets
and figures of what exists are as they were, and its own page opens. It is left out where people
choose: lists, pickers, searches, "all questions", new queues and datasets, counts of Home. Each of
these asks for `in_use`; a filter on every select would empty lineage and old figures as well.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, null, select, true, update
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError
from db.tables import (
    Archivable,
    Dataset,
    Dialogue,
    ModelVersion,
    Question,
    Rater,
    RatingQueue,
    Sweep,
    TrainingRun,
    utc_now,
)

ArchiveKind = Literal["question", "sweep", "queue", "rater", "dialogue", "dataset", "run", "model"]
KINDS: tuple[ArchiveKind, ...] = get_args(ArchiveKind)
TABLES: Mapping[ArchiveKind, Any] = {
    "question": Question,
    "sweep": Sweep,
    "queue": RatingQueue,
    "rater": Rater,
    "dialogue": Dialogue,
    "dataset": Dataset,
    "run": TrainingRun,
    "model": ModelVersion,
}
_MOVING = ("queued", "running")
"""States of sweeps and runs; nobody shall lose sight of work that is under way."""


def in_use(table: type[Archivable], archived: bool | None = False) -> ColumnElement[bool]:
    """Return the condition that a row of ``table`` is in use.

    Args:
        table: The mapped class, or an alias of it.
        archived: True: that it is archived instead; None: nothing is asked.
    """
    if archived is None:
        return true()
    return table.archived_at.is_not(None) if archived else table.archived_at.is_(None)


def has_archived(session: Session, kind: ArchiveKind) -> bool:
    """Tell whether anything of a kind is archived; where nothing is, no query need ask for it."""
    table = TABLES[kind]
    return session.scalar(select(table.id).where(in_use(table, archived=True)).limit(1)) is not None


def archive(session: Session, kind: ArchiveKind, ids: Collection[int]) -> int:
    """Put things away, all of them or none.

    Args:
        session: Of an open write transaction.
        kind: What they are.
        ids: Which of them.

    Returns:
        How many were in use until now.

    Raises:
        UsageError: One is not in the store, or is being worked at.
    """
    rows = _rows(session, kind, ids)
    moving = [one for one, (_, state) in rows.items() if state in _MOVING]
    if moving:
        raise UsageError(
            "Number {id} is under way; cancel it or wait for its end, then archive it.",
            id=moving[0],
        )
    in_use_now = [one for one, (is_archived, _) in rows.items() if not is_archived]
    return _set(session, kind, in_use_now, utc_now())


def restore(session: Session, kind: ArchiveKind, ids: Collection[int]) -> int:
    """Bring things back, all of them or none.

    Args:
        session: Of an open write transaction.
        kind: What they are.
        ids: Which of them.

    Returns:
        How many were archived until now.

    Raises:
        UsageError: One is not in the store.
    """
    rows = _rows(session, kind, ids)
    archived = [one for one, (is_archived, _) in rows.items() if is_archived]
    return _set(session, kind, archived, None)


def _rows(
    session: Session, kind: ArchiveKind, ids: Collection[int]
) -> dict[int, tuple[bool, str | None]]:
    """Return whether each is archived, and the state of a sweep or a run."""
    table = TABLES[kind]
    state = table.state if kind in ("sweep", "run") else null()
    found: dict[int, tuple[bool, str | None]] = {}
    for some in chunks(ids):
        rows = session.execute(
            select(table.id, table.archived_at.is_not(None), state).where(table.id.in_(some))
        )
        found.update({one: (is_archived, at) for one, is_archived, at in rows})
    missing = [one for one in ids if one not in found]
    if missing:
        raise UsageError("There is no number {id}; nothing was changed.", id=missing[0])
    return found


def _set(session: Session, kind: ArchiveKind, ids: Collection[int], at: datetime | None) -> int:
    table = TABLES[kind]
    for some in chunks(ids):
        session.execute(update(table).where(table.id.in_(some)).values(archived_at=at))
    return len(ids)
