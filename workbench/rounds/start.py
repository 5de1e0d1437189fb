"""A round written to the store, started and resumed; all that it names is looked up before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.datasets import find_dataset
from db.errors import Q2QError, UsageError, free_bytes
from db.jobs import active_jobs, enqueue
from db.models import ModelRow, find_model, get_model, merges_of, model_by_name
from db.rounds import (
    RoundRow,
    create_round,
    find_round,
    is_known,
    move_round,
)
from db.settings import Settings
from db.tables import Dataset
from db.texts.rows import require_questions
from serving.formats.library import Registry, load_registry
from serving.formats.render import task_templates
from serving.models.as_served import stored_version
from serving.models.register import ensure_default_model
from serving.sweeps.selection import DEFAULT_MODEL, select_questions
from training.datasets.build import check_rules
from training.datasets.rules import Rules, parse_rules
from training.runs.prepare import check_training
from training.runs.spec import TrainSpec, parse_spec
from workbench.rounds.spec import BASE, RoundSpec

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
        raise UsageError(
            "Round {found_name!r} has ended; nothing of it is left to run.", found_name=found.name
        )
    for job in active_jobs(session, kind=KIND):
        if job.payload["round_id"] == found.id:
            return job.id
    if approved and found.step == "approval":
        move_round(session, found.id, step="train", verdict=None, reason=None)
    move_round(session, found.id, state="open")
    return enqueue(session, KIND, payload={"round_id": found.id, "approved": approved})


def _start(
    session: Session, spec: RoundSpec, default: ModelRow | None
) -> tuple[ModelRow, RoundRow | None]:
    """Return the model that is trained, and the round that it comes from."""
    if spec.start == BASE:
        return default or stored_version(session, find_model(session, spec.base)), None
    parent = find_round(session, spec.start)
    if parent.merged_model_version_id is None or parent.verdict == "drop":
        why = " (it was dropped)" if parent.verdict == "drop" else " yet"
        raise UsageError(
            "from: round {parent_name!r} has no model to go on from{why}; choose another, or base.",
            parent_name=parent.name,
            why=why,
        )
    model = get_model(session, parent.merged_model_version_id)
    if model.kind == "adapter":
        merged = next((one for one in merges_of(session, model.id) if _is_proved(one)), None)
        if merged is None:
            raise UsageError(
                "from: round {parent_name!r} left an adapter, and only whole weights can be"
                " trained on; merge it first: `q2q merge {model_name}`.",
                parent_name=parent.name,
                model_name=model.name,
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
            raise UsageError("compare.rounds: round {name!r} has no model yet.", name=name)
        ids.append(other.merged_model_version_id)
    if found.merged_model_version_id is not None:
        ids.append(found.merged_model_version_id)
    return list(dict.fromkeys(ids))


def check_round(
    session: Session, settings: Settings, registry: Registry, spec: RoundSpec, model: ModelRow
) -> None:
    """Refuse a round that could not go to its end: dataset, training and comparison.

    Args:
        session: One that reads.
        settings: Of this workbench: the device, and the formats that people wrote.
        registry: Formats and roles.
        spec: What is asked for.
        model: What is trained.

    Raises:
        UsageError: It names something that is not there or does not fit.
    """
    require_questions(session)
    name, kind = _dataset(session, registry, spec)
    training = train_spec(spec.name, spec.train, dataset=name, base=model.name)
    if training.name and model_by_name(session, training.name) is not None:
        raise UsageError(
            "name: another model is called {training_name} already; choose another name.",
            training_name=training.name,
        )
    if model.state != "pruned":  # its weights are made again before the training looks at them
        check_training(settings, training, model, kind)
    _check_comparison(session, registry, spec)


def train_spec(
    round_name: str, settings: Mapping[str, Any], *, dataset: str, base: str
) -> TrainSpec:
    """Return the training of a round.

    Raises:
        UsageError: A setting under ``train`` is wrong.
    """
    given = {"dataset": dataset, "base": base, "name": f"round-{round_name}", **settings}
    return parse_spec(given, where=f"The settings under train of round {round_name!r}")


def _dataset(session: Session, registry: Registry, spec: RoundSpec) -> tuple[str, str]:
    """Return the name and the kind of the dataset, which may still have to be built."""
    if isinstance(spec.dataset, str):
        found = find_dataset(session, spec.dataset)
        return found.name, found.kind
    rules = parse_rules(spec.dataset)
    check_rules(session, rules, registry)
    _check_name_of(session, rules)
    return rules.name, rules.kind


def _check_name_of(session: Session, rules: Rules) -> None:
    """Refuse the name of a dataset by other rules; by the same ones it may come out the same."""
    known = session.scalar(select(Dataset.rules).where(Dataset.name == rules.name))
    if known is not None and parse_rules(known) != rules:
        raise UsageError(
            "dataset: there is a dataset {rules_name!r} by other rules already, and a frozen one "
            "never changes; give this one another name.",
            rules_name=rules.name,
        )


def _check_comparison(session: Session, registry: Registry, spec: RoundSpec) -> None:
    asked = spec.compare
    for reference in asked.formats:
        task_templates(registry.format(reference).definition, "whole")
    roles = {full_name.rpartition("@")[0] for full_name in registry.roles}
    select_questions(session, asked.questions, roles)
    for name in asked.rounds:
        if find_round(session, name).merged_model_version_id is None:
            raise UsageError("compare.rounds: round {name!r} has no model yet.", name=name)


CHECKPOINTS_SHARE = 0.15
"""Adapter, its optimizer and two checkpoints, for the size of the base."""
SPARE_BYTES = 1_000_000_000
"""For the store, logs and the system."""


def needed_bytes(base: ModelRow, *, merge: bool) -> int:
    """Return what a round on ``base`` writes: adapter, checkpoints, and perhaps a 16-bit merge.

    A base that was pruned is written again as well.
    """
    weights = 2 * base.n_parameters if base.n_parameters else base.size_bytes or 0
    n_copies = int(merge) + int(base.state == "pruned")
    return round(weights * (n_copies + CHECKPOINTS_SHARE)) + SPARE_BYTES


def check_disk(home: Path, base: ModelRow, *, merge: bool) -> None:
    """Refuse to begin what would fill the disk.

    Raises:
        Q2QError: There is too little room; the sentence says how much is missing.
    """
    needed, free = needed_bytes(base, merge=merge), free_bytes(home)
    if free < needed:
        raise Q2QError(
            "This round writes about {needed:.1f} GB under {home}, and"
            " {free:.1f} GB are free; free some, for example with `q2q model prune`.",
            needed=needed / 1e9,
            home=home,
            free=free / 1e9,
        )
