"""A round written to the store, started and resumed; what its steps need is looked up here."""

from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.jobs import active_jobs, enqueue
from db.models import ModelRow, find_model, get_model, merges_of
from db.rounds import (
    RoundRow,
    create_round,
    find_round,
    is_known,
    move_round,
)
from db.settings import Settings
from serving.formats.library import load_registry
from serving.models.register import ensure_default_model
from serving.sweeps.selection import DEFAULT_MODEL
from training.rounds.disk import check_disk
from training.rounds.spec import BASE, RoundSpec
from workbench.rounds.checking import check_round

KIND = "round"


def begin_round(database: Database, settings: Settings, spec: RoundSpec) -> RoundRow:
    """Write the round, or return the one that was begun with the same config.

    Raises:
        UsageError: Something that it names is not there or does not fit; nothing is written then.
        Q2QError: The disk has too little room.
    """
    default = None
    if spec.start == BASE and spec.base == DEFAULT_MODEL:
        default = ensure_default_model(database, settings)
    with database.write() as session:
        model, parent = _start(session, spec, default)
        check_disk(settings.home_dir, model, merge=spec.merge)
        if not is_known(session, spec.name, spec.as_config()):
            registry = load_registry(settings, session)
            check_round(session, settings, registry, spec, model)
        return create_round(
            session,
            name=spec.name,
            config=spec.as_config(),
            starts_from_id=model.id,
            parent_id=parent.id if parent else None,
            busy={job.payload["round_id"] for job in active_jobs(session, kind=KIND)},
        )


def queue_round(session: Session, round_id: int, *, approved: bool = False) -> int:
    """Queue what is left of a round, and return the job's id; one that is active is kept.

    Raises:
        UsageError: It has ended.
    """
    found = find_round(session, round_id)
    if found.step == "ended":
        raise UsageError(f"Round {found.name!r} has ended; nothing of it is left to run.")
    for job in active_jobs(session, kind=KIND):
        if job.payload["round_id"] == found.id:
            return job.id
    if approved and found.step == "approval":
        move_round(session, found.id, step="train")
    move_round(session, found.id, state="open")
    return enqueue(session, KIND, payload={"round_id": found.id, "approved": approved})


def _start(
    session: Session, spec: RoundSpec, default: ModelRow | None
) -> tuple[ModelRow, RoundRow | None]:
    """Return the model that is trained, and the round that it comes from."""
    if spec.start == BASE:
        return default or find_model(session, spec.base), None
    parent = find_round(session, spec.start)
    if parent.merged_model_version_id is None or parent.verdict == "drop":
        why = " (it was dropped)" if parent.verdict == "drop" else " yet"
        raise UsageError(
            f"from: round {parent.name!r} has no model to go on from{why}; choose another, or base."
        )
    model = get_model(session, parent.merged_model_version_id)
    if model.kind == "adapter":
        merged = next((one for one in merges_of(session, model.id) if _is_proved(one)), None)
        if merged is None:
            raise UsageError(
                f"from: round {parent.name!r} left an adapter, and only whole weights can be"
                f" trained on; merge it first: `q2q merge {model.name}`."
            )
        return merged, parent
    return model, parent


def _is_proved(model: ModelRow) -> bool:
    return model.state in ("ready", "pruned")


def compared_models(session: Session, found: RoundRow, spec: RoundSpec) -> list[int]:
    """Return the models that are compared: where it starts, rounds that it names, its own.

    Raises:
        UsageError: A round that is named has no model.
    """
    ids = [found.starts_from_id]
    for name in spec.compare.rounds:
        other = find_round(session, name)
        if other.merged_model_version_id is None:
            raise UsageError(f"compare.rounds: round {name!r} has no model yet.")
        ids.append(other.merged_model_version_id)
    if found.merged_model_version_id is not None:
        ids.append(found.merged_model_version_id)
    return list(dict.fromkeys(ids))
