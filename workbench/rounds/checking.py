"""Everything that a round names, looked up before the round is written.

A round keeps its config for good: a mistake found at a later step would have used up its name.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.datasets import find_dataset
from db.errors import UsageError
from db.models import ModelRow, model_by_name
from db.rounds import find_round
from db.settings import Settings
from db.tables import Dataset
from db.texts.rows import require_questions
from serving.formats.library import Registry
from serving.formats.render import task_templates
from serving.sweeps.selection import select_questions
from training.datasets.build import check_rules
from training.datasets.rules import Rules
from training.datasets.spec import parse_rules
from training.rounds.spec import RoundSpec
from training.runs.prepare import check_training
from training.runs.spec import TrainSpec, parse_spec


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
            f"name: another model is called {training.name} already; choose another name."
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
    if known is not None and known != rules.model_dump(mode="json"):
        raise UsageError(
            f"dataset: there is a dataset {rules.name!r} by other rules already, and a frozen one "
            "never changes; give this one another name."
        )


def _check_comparison(session: Session, registry: Registry, spec: RoundSpec) -> None:
    asked = spec.compare
    for reference in asked.formats:
        task_templates(registry.format(reference).definition, "whole")
    roles = {full_name.rpartition("@")[0] for full_name in registry.roles}
    select_questions(session, asked.questions, roles)
    for name in asked.rounds:
        if find_round(session, name).merged_model_version_id is None:
            raise UsageError(f"compare.rounds: round {name!r} has no model yet.")
