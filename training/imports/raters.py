"""Models that judged imported data: raters whose weights nobody knows here."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.models import model_by_name
from db.ratings import rater_name
from db.tables import ModelVersion, Rater

_NOTE = "Judged imported training data; its weights are not known here."


def ensure_model_rater(session: Session, name: str, model: str | None = None) -> int:
    """Return the id of the rater that is the model called ``name``, known or new.

    A model that the store does not know is declared, out of the lists of those that can be served.

    Args:
        session: Of the store.
        name: Of the rater.
        model: Of the model, where it is called differently.

    Raises:
        UsageError: The name is a person's, empty or too long.
    """
    name = rater_name(name)
    known = session.scalar(select(Rater).where(Rater.name == name))
    if known is not None and known.kind != "model":
        raise UsageError(
            f"{name!r} is the name of a person who rates; give the model another one with --rater."
        )
    if known is not None:
        return known.id
    known_model = model_by_name(session, model or name)
    model_id = known_model.id if known_model is not None else None
    if model_id is None:
        declared = ModelVersion(name=model or name, kind="declared", state="removed", note=_NOTE)
        session.add(declared)
        session.flush()
        model_id = declared.id
    rater = Rater(name=name, kind="model", model_version_id=model_id)
    session.add(rater)
    session.flush()
    return rater.id
