"""Plans for the models of a store, for folders and for the default model before it is fetched."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from db.errors import UsageError
from db.models import ModelRow, find_model, get_model, limits_of, list_models
from db.settings import Settings
from serving.device import Device, resolve_device
from serving.engine.command import Adapter
from serving.engine.hardware import Gpu, find_gpus, with_freed
from serving.engine.plan import Limits, ServingPlan, Subject, make_plan
from serving.engine.plan_types import DoesNotFit
from serving.engine.ray_cluster import cluster_of, node_gpus
from serving.engine.server import read_record
from serving.engine.shape import DEFAULT_SHAPE, ModelShape, read_shape
from serving.models.as_served import split_precision
from serving.models.embedded import EMBEDDED_NAME, embedded_model_folder
from serving.models.register import CUDA_DEFAULT, default_name
from serving.models.servable import served_rank, server_spec
from serving.models.tensor_files import ModelError


def plan_for(
    session: Session | None,
    settings: Settings,
    reference: str | None = None,
    gpus: Sequence[Gpu] | None = None,
    limits: Limits | None = None,
) -> ServingPlan:
    """Return the plan of a model; nothing is loaded or fetched.

    Args:
        session: One that reads the store; None where there is no store yet.
        settings: Of this workbench.
        reference: Name or id in the store, a folder, or None for the model of the settings.
        gpus: Default: those of this machine, as they are once the workbench's server has ended.
        limits: Of a model of the store; default: those that people set for it.

    Raises:
        UsageError: There is no such model, or the settings contradict it.
        DoesNotFit: It fits in no way; the sentence names what would.
    """
    device: Device = "cuda" if gpus is not None else resolve_device(settings.device)
    if gpus is None and device == "cuda":
        gpus = (node_gpus(settings) if cluster_of(settings) else None) or free_gpus(settings)
    subject = _subject(session, settings, reference or settings.model, device, limits)
    try:
        return make_plan(subject, settings, gpus)
    except DoesNotFit:
        if session is None or device == "cpu":
            raise
        return make_plan(subject, settings, gpus, _shapes(session))


def free_gpus(settings: Settings) -> tuple[Gpu, ...]:
    """Return this machine's GPUs with the memory that is free once the own server has ended."""
    gpus = find_gpus()
    record = read_record(settings.home_dir)
    if record is None or record.spec.ray is not None or not record.process.is_alive():
        return gpus
    plan = record.spec.plan
    if plan is None:
        return gpus
    used = plan.gpus or [gpu.index for gpu in gpus[: plan.n_gpus]]
    return with_freed(gpus, plan.gpu_memory_utilization, used)


def _subject(
    session: Session | None,
    settings: Settings,
    reference: str | None,
    device: Device,
    limits: Limits | None,
) -> Subject:
    if reference is None and device == "cpu":
        folder = embedded_model_folder(settings.cache_dir)
        return Subject(name=EMBEDDED_NAME, device=device, folder=folder)
    reference, precision = split_precision(reference or CUDA_DEFAULT)
    subject = _named(session, settings, reference, device, limits)
    return subject if precision is None else replace(subject, precision=precision)


def _named(
    session: Session | None,
    settings: Settings,
    reference: str,
    device: Device,
    limits: Limits | None,
) -> Subject:
    folder = Path(reference).expanduser()
    if (folder / "config.json").is_file():
        return Subject(name=folder.name, device=device, folder=folder, shape=read_shape(folder))
    if session is not None:
        known = _known(session, reference)
        if known is not None:
            return _stored(session, settings, known, device, limits)
    if reference in (CUDA_DEFAULT, default_name(CUDA_DEFAULT)):
        return Subject(name=DEFAULT_SHAPE.name, device=device, shape=DEFAULT_SHAPE)
    if reference == EMBEDDED_NAME:  # before it is registered
        embedded = embedded_model_folder(settings.cache_dir)
        return Subject(name=EMBEDDED_NAME, device=device, folder=embedded)
    raise UsageError(
        "{reference} is no model in the store and no folder with a config.json; add it with"
        " `q2q model add`, or give a folder that holds at least its config.json.",
        reference=reference,
    )


def _known(session: Session, reference: str) -> ModelRow | None:
    try:
        return find_model(session, reference)
    except UsageError:
        return next((one for one in list_models(session) if one.hub_id == reference), None)


def _stored(
    session: Session,
    settings: Settings,
    model: ModelRow,
    device: Device,
    limits: Limits | None,
) -> Subject:
    base = get_model(session, model.family_id)
    rows = [one for one in list_models(session) if one.base_id == (base.stored_id or base.id)]
    adapters = tuple(found for row in rows if (found := _adapter(row)) is not None)
    spec = server_spec(base, settings)
    # Without a precision of its own it is planned, as a job that names only the model has it.
    precision = base.precision if base.stored_id is not None else None
    given = Limits(**limits_of(session, base)) if limits is None else limits
    return spec.model_copy(
        update={
            "device": device,
            "precision": precision,
            "limits": given,
            "adapters": adapters,
        }
    ).subject()


def _adapter(model: ModelRow) -> Adapter | None:
    """Return an adapter as a server takes it; None where it is none, or cannot be served."""
    if model.kind != "adapter" or model.state != "ready" or model.path is None:
        return None
    try:
        folder = Path(model.path)
        return Adapter(name=model.name, path=folder, rank=served_rank(folder))
    except UsageError:
        return None


def _shapes(session: Session) -> list[ModelShape]:
    """Return the shapes of all models of the store whose files are there."""
    found = []
    for model in list_models(session):
        if model.kind == "adapter" or model.path is None:
            continue
        try:
            found.append(read_shape(Path(model.path), model.name))
        except ModelError:
            continue
    return found
