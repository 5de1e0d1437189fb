"""Model versions by meaning: which there are, what one is, and what a remote server declares."""

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.tables import ModelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model version; safe to use after the session is closed."""

    id: int
    name: str
    kind: str
    digest: str | None
    base_id: int | None
    path: str | None
    hub_id: str | None
    revision: str | None
    architecture: str | None
    dtype: str | None
    n_parameters: int | None
    size_bytes: int | None
    context_length: int | None
    tokenizer_hash: str | None
    bos_token_id: int | None
    stop_token_ids: tuple[int, ...]
    state: str
    note: str | None
    created_at: datetime

    @property
    def family_id(self) -> int:
        """The version whose weights a server must load for it: an adapter's base, or itself."""
        return self.base_id if self.kind == "adapter" and self.base_id is not None else self.id


def list_models(session: Session, *, with_removed: bool = False) -> list[ModelRow]:
    """Return the model versions, oldest first."""
    query = select(ModelVersion).order_by(ModelVersion.id)
    if not with_removed:
        query = query.where(ModelVersion.state.not_in(("removed", "pruned")))
    return [_row(model) for model in session.scalars(query)]


def get_model(session: Session, model_version_id: int) -> ModelRow:
    """Return one model version.

    Raises:
        UsageError: There is none with this id.
    """
    model = session.get(ModelVersion, model_version_id)
    if model is None:
        raise UsageError(f"There is no model m{model_version_id}; `q2q model list` shows them all.")
    return _row(model)


def model_by_name(session: Session, name: str) -> ModelRow | None:
    """Return the model version called ``name``; None if there is none."""
    model = session.scalar(select(ModelVersion).where(ModelVersion.name == name))
    return _row(model) if model is not None else None


def find_model(session: Session, reference: str) -> ModelRow:
    """Return the model version that a person means: its name, its id as ``m3``, or its hub id.

    Raises:
        UsageError: Nothing fits.
    """
    found = model_by_name(session, reference)
    if found is None and re.fullmatch("m[0-9]{1,18}", reference):
        return get_model(session, int(reference[1:]))
    if found is None:
        by_hub = session.scalars(
            select(ModelVersion).where(ModelVersion.hub_id == reference).order_by(ModelVersion.id)
        ).all()
        found = _row(by_hub[-1]) if by_hub else None
    if found is None:
        raise UsageError(f"There is no model {reference!r}; `q2q model list` shows them all.")
    return found


def declare_model(
    session: Session,
    served_name: str,
    engine_name: str,
    *,
    context_length: int | None,
    tokenizer_hash: str | None,
) -> ModelRow:
    """Return the version of a model that a remote server offers, writing it on first sight.

    Such a version is ``declared``: its name is believed, its weights are not verified. Servers that
    offer one name are taken as replicas of one version. Where a verified version bears the
    name, the declared one is called ``name@engine``.
    """
    name = served_name
    known = session.scalar(select(ModelVersion).where(ModelVersion.name == name))
    if known is not None and known.kind != "declared":
        name = f"{served_name}@{engine_name}"
        known = session.scalar(select(ModelVersion).where(ModelVersion.name == name))
    if known is None:
        known = ModelVersion(
            name=name,
            kind="declared",
            note=f"Offered by the server {engine_name}; its weights are not verified.",
        )
        session.add(known)
    known.state = "ready"
    known.context_length = context_length or known.context_length
    known.tokenizer_hash = tokenizer_hash or known.tokenizer_hash
    session.flush()
    return _row(known)


def remove_model(session: Session, model_version_id: int) -> None:
    """Take a version out of the lists; what it wrote keeps pointing at it. Its files stay.

    Raises:
        UsageError: An adapter that is in use needs it.
    """
    model = session.get_one(ModelVersion, model_version_id)
    dependent = session.scalars(
        select(ModelVersion.name).where(
            ModelVersion.base_id == model.id,
            ModelVersion.kind == "adapter",
            ModelVersion.state == "ready",
        )
    ).first()
    if dependent is not None:
        raise UsageError(
            f"The adapter {dependent} needs {model.name};"
            f" remove it first: `q2q model remove {dependent}`."
        )
    model.state = "removed"


def mark_unserved(session: Session, model_version_id: int, note: str) -> None:
    """Say that no server can offer a version, and why; what it wrote stays."""
    model = session.get_one(ModelVersion, model_version_id)
    model.state, model.note = "unusable", note


def _row(model: ModelVersion) -> ModelRow:
    values = {name: getattr(model, name) for name in ModelRow.__slots__}
    return ModelRow(**values | {"stop_token_ids": tuple(model.stop_token_ids)})
