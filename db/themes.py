"""Themes by meaning: stored once, listed, found by name."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import ThemeRow
from db.errors import UsageError
from db.tables import DialogueSession, Theme

FIELDS = ("concept", "goal", "opposing_goal", "audience", "points_of_view", "language")


def save_theme(session: Session, name: str, values: Mapping[str, Any]) -> int:
    """Store a theme and return its id; the same theme again is stored once.

    Args:
        session: Of an open write transaction.
        name: What lists call it; each theme has its own.
        values: ``FIELDS``.

    Raises:
        UsageError: Another theme of this name has sessions already.
    """
    own = {field: values.get(field) for field in FIELDS}
    own["points_of_view"] = list(own["points_of_view"] or ())
    known = session.scalar(select(Theme).where(Theme.name == name))
    if known is None:
        known = Theme(name=name, **own)
        session.add(known)
        session.flush()
        return known.id
    if any(getattr(known, field) != value for field, value in own.items()):
        used = session.scalar(
            select(DialogueSession.id).where(DialogueSession.theme_id == known.id).limit(1)
        )
        if used is not None:
            raise UsageError(
                f"There is a theme {name!r} that says something else, and dialogue {used} is about"
                " it; give the changed theme another name."
            )
        for field, value in own.items():
            setattr(known, field, value)
        session.flush()
    return known.id


def list_themes(session: Session) -> list[ThemeRow]:
    """Return all themes by name."""
    return [
        ThemeRow(
            id=row.id,
            name=row.name,
            points_of_view=tuple(row.points_of_view),
            **{field: getattr(row, field) for field in FIELDS if field != "points_of_view"},
        )
        for row in session.scalars(select(Theme).order_by(Theme.name))
    ]
