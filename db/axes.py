"""How axes were worded: each wording once, so that a rating keeps the one it was given under."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.identity import json_hash
from db.tables import RatingAxis


def ensure_axis(session: Session, scope: str, name: str, definition: Mapping[str, Any]) -> int:
    """Return the id of an axis with this wording, known or new."""
    hashed = json_hash(definition)
    known = session.scalar(
        select(RatingAxis.id).where(
            RatingAxis.scope == scope,
            RatingAxis.name == name,
            RatingAxis.definition_hash == hashed,
        )
    )
    if known is not None:
        return known
    axis = RatingAxis(scope=scope, name=name, definition=dict(definition), definition_hash=hashed)
    session.add(axis)
    session.flush()
    return axis.id
