"""Model versions as they are served: the precision of the weights is part of who wrote a text."""

from functools import cache
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import can_write
from db.errors import Q2QError, UsageError
from db.identity import AS_STORED, WHEN_LOADED, Precision
from db.models import OF_BASE, ModelRow, find_model, free_name, get_model, limits_of, model_by_name
from db.settings import Settings
from db.tables import ModelVersion
from serving.device import resolve_device
from serving.engine.hardware import Gpu, find_gpus, idle
from serving.engine.plan import Limits, Subject, make_plan
from serving.engine.ray_cluster import cluster_of, node_gpus
from serving.models.servable import FALLBACK_CONTEXT


class VersionMissing(UsageError):
    """A version as served has no row yet, and the session at hand only reads."""


def stored_version(session: Session, model: ModelRow) -> ModelRow:
    """Return the version whose files ``model`` is served from: itself, unless it is quantised."""
    return model if model.stored_id is None else get_model(session, model.stored_id)


def as_served(session: Session, model: ModelRow, precision: Precision) -> ModelRow:
    """Return the version that a server writes as where it serves ``model`` in ``precision``.

    Weights that are quantised when they are loaded write other texts, so that they are a version
    of their own; its row is written on first sight. An adapter then stands on such a base.

    Raises:
        VersionMissing: There is no row yet, and ``session`` only reads.
        UsageError: The model cannot be served in that precision.
    """
    stored = stored_version(session, model)
    if precision == stored.precision:
        return stored
    if stored.kind == "declared" or stored.precision != AS_STORED or precision not in WHEN_LOADED:
        raise UsageError(
            "{name} cannot be served in {precision}: its weights are in {stored}. Only weights in"
            " 16 bit that this workbench serves itself can be quantised, to {choices}.",
            name=stored.name,
            precision=precision,
            stored=stored.precision or "a precision that its server does not tell",
            choices=" or ".join(WHEN_LOADED),
        )
    known = session.scalar(
        select(ModelVersion.id).where(
            ModelVersion.stored_id == stored.id, ModelVersion.precision == precision
        )
    )
    if known is not None:
        return get_model(session, known)
    if not can_write(session):
        raise VersionMissing(
            "{name} was never served in {precision} here.", name=stored.name, precision=precision
        )
    base_id = stored.base_id
    if stored.kind == "adapter" and base_id is not None:
        base_id = as_served(session, get_model(session, base_id), precision).id
    made = ModelVersion(
        name=free_name(session, f"{stored.name}@{precision}"),
        kind=stored.kind,
        digest=f"{stored.digest}:{precision}",
        precision=precision,
        stored_id=stored.id,
        base_id=base_id,
        stop_token_ids=list(stored.stop_token_ids),
        **{name: getattr(stored, name) for name in OF_BASE},
    )
    session.add(made)
    session.flush()
    return get_model(session, made.id)


def split_precision(reference: str) -> tuple[str, Precision | None]:
    """Return the name in ``NAME@fp8`` and the precision; a name without one is left as it is."""
    name, at, last = reference.rpartition("@")
    said = next((one for one in (AS_STORED, *WHEN_LOADED) if at and one == last), None)
    return (name, said) if said is not None else (reference, None)


def find_served(
    session: Session, reference: str, settings: Settings, precision: Precision | None = None
) -> ModelRow:
    """Return the version that a person means, as it is served.

    Args:
        session: One that writes, where the version may be new.
        reference: Name or id; ``NAME@fp8`` says the precision.
        settings: Of this workbench, for the precision where nobody says one.
        precision: The one to serve it in; default: what the server takes by settings and plan.

    Raises:
        VersionMissing: It was never served so, and ``session`` only reads.
        UsageError: Nothing fits, the model cannot be served in that precision, or it is said twice.
    """
    name, asked = split_precision(reference)
    known = model_by_name(session, reference)
    if known is not None and known.stored_id is None:
        return served_version(session, known, settings, precision)
    if asked is not None or known is not None:
        if precision is not None:
            raise UsageError(
                "{name} says its precision already; name the model without it, or leave out the"
                " key precision.",
                name=reference,
            )
        return known or as_served(session, find_model(session, name), asked or AS_STORED)
    found = find_model(session, reference)
    if found.stored_id is not None and precision is None:
        return found
    return served_version(session, found, settings, precision)


def served_version(
    session: Session, model: ModelRow, settings: Settings, precision: Precision | None = None
) -> ModelRow:
    """Return ``model`` as it is served in ``precision``, or as settings and plan have it.

    Raises:
        VersionMissing: It was never served so, and ``session`` only reads.
        UsageError: It cannot be served in ``precision``.
    """
    wanted = precision or served_precision(session, model, settings)
    return model if wanted is None else as_served(session, model, wanted)


def served_precision(session: Session, model: ModelRow, settings: Settings) -> Precision | None:
    """Return the precision in which the own server serves a stored model; None: nobody knows.

    It follows from settings and hardware, not from what other programs hold of a GPU's memory now:
    whoever asks tomorrow for the same model means the same version.
    """
    if model.kind == "declared" or model.precision != AS_STORED:
        return model.precision
    if settings.precision != "auto":
        return settings.precision
    base = get_model(session, model.family_id)
    if base.folder is None:  # a pruned merge: its base is as large
        base = get_model(session, base.base_id or base.id)
    if resolve_device(settings.device) == "cpu" or base.path is None:
        return AS_STORED
    subject = Subject(
        folder=Path(base.path),
        name=base.name,
        context_length=base.context_length or FALLBACK_CONTEXT,
        device="cuda",
        limits=Limits(**limits_of(session, base)),
    )
    try:
        nodes = node_gpus(settings) if cluster_of(settings) else None
        return make_plan(subject, settings, nodes or _empty_gpus()).precision
    except Q2QError:  # the server says why when it is to start
        return AS_STORED


@cache
def _empty_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs of this machine as they are when nobody uses them."""
    return idle(find_gpus())
