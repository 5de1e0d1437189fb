"""What people set for the serving of one model, in whatever precision it is served."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from db.models import ModelRow, get_model
from db.tables import ServingLimits


def limits_of(session: Session, model: ModelRow) -> dict[str, Any]:
    """Return name of a setting → value, for the weights that ``model`` is served from."""
    row = session.get(ServingLimits, _weights_id(session, model))
    return {} if row is None else dict(row.limits)


def set_limits(session: Session, model: ModelRow, limits: Mapping[str, Any]) -> None:
    """Keep ``limits`` for a model in the place of those before; an empty mapping takes all away."""
    weights_id = _weights_id(session, model)
    row = session.get(ServingLimits, weights_id)
    if row is not None:
        row.limits = dict(limits)
    elif limits:
        session.add(ServingLimits(model_version_id=weights_id, limits=dict(limits)))


def _weights_id(session: Session, model: ModelRow) -> int:
    base = get_model(session, model.family_id)
    return base.stored_id or base.id
