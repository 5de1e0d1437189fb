"""What the servers of a sweep cannot vary: parameters they refuse, seeds they do not honour."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import Q2QError, UsageError
from db.tables import Engine, EngineModel, ModelVersion
from serving.engines.sampling import NEUTRAL, SamplingParameters
from serving.sweeps.engines import ServedModel
from serving.sweeps.slots import WRITING, ResolvedPlan


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the server of a model was seen to refuse."""

    model: str
    server: str
    refused: frozenset[str]
    """Fields of a request."""
    honours_seeds: bool


def known_limits(session: Session, model_ids: Collection[int]) -> dict[int, ServerLimits]:
    """Return the limits of models that are offered now; of several servers, the one with fewest."""
    rows = session.execute(
        select(EngineModel.model_version_id, ModelVersion.name, Engine.name, Engine.capabilities)
        .join(Engine, Engine.id == EngineModel.engine_id)
        .join(ModelVersion, ModelVersion.id == EngineModel.model_version_id)
        .where(EngineModel.model_version_id.in_(model_ids))
    )
    found: dict[int, ServerLimits] = {}
    for model_id, model, server, can in rows:
        limits = ServerLimits(
            model, server, frozenset(can.get("refused_fields", ())), bool(can.get("seed", True))
        )
        known = found.get(model_id)
        if known is None or len(limits.refused) < len(known.refused):
            found[model_id] = limits
    return found


def check_against_limits(session: Session, plan: ResolvedPlan) -> list[str]:
    """Return, as sentences, what cannot be varied with the models of ``plan``.

    Raises:
        UsageError: A level sets what a server refuses; it names each level.
    """
    limits = known_limits(session, {*plan.model_ids, *(plan.answer_model_ids or ())})
    problems = [
        f"{place}: {name} {value:g} cannot be set, since the server {limits[model_id].server} of "
        f"{limits[model_id].model} refuses {name}"
        for place, model_id, level in _levels(plan)
        if model_id in limits
        for name, value in refused_values(level, limits[model_id].refused).items()
    ]
    seeded = any(level.seed is not None for _, _, level in _levels(plan))
    problems += [
        f"seed: the server {one.server} of {one.model} does not honour seeds"
        for one in limits.values()
        if seeded and not one.honours_seeds
    ]
    if problems:
        raise UsageError(f"{'; '.join(problems)}. Leave it out, or name a model of another server.")
    return [
        f"The server {one.server} of {one.model} refuses {', '.join(names)}: it is not sent there "
        "and cannot be varied."
        for one in limits.values()
        if (names := [name for name in NEUTRAL if name in one.refused])
    ]


def check_served(plan: ResolvedPlan, served: Mapping[int, ServedModel]) -> None:
    """Refuse to run levels that the servers now at hand do not take.

    Raises:
        Q2QError: The sentence names the level and the server's model.
    """
    for place, model_id, level in _levels(plan):
        model = served.get(model_id)
        if model is None:
            continue
        if level.seed is not None and not model.capabilities.seed:
            raise Q2QError(
                f"The server of {model.served_name} does not honour seeds; plan the sweep"
                " without the key seed."
            )
        refused = refused_values(level, model.capabilities.refused_fields)
        for name, value in refused.items():
            raise Q2QError(
                f"{place}: {name} {value:g} cannot be set, since the server of "
                f"{model.served_name} refuses {name}; plan the sweep without it."
            )


def refused_values(level: SamplingParameters, refused: Collection[str]) -> dict[str, float]:
    """Return the parameters of ``level`` that change something and would not be sent."""
    values = level.resolved()
    return {
        name: float(values[name] or 0.0)
        for name in NEUTRAL
        if name in refused and values[name] != NEUTRAL[name]
    }


def _levels(plan: ResolvedPlan) -> Iterator[tuple[str, int, SamplingParameters]]:
    """Yield each sampling level with its place in the spec and each model that uses it."""
    if any(mode in WRITING for mode in plan.formats):
        yield from _placed("reasoning_sampling", plan.model_ids, plan.reasoning_sampling)
    if plan.answers:
        models = plan.answer_model_ids or plan.model_ids
        yield from _placed("answer_sampling", models, plan.answer_sampling)
    for ask in plan.asks:
        yield from _placed("sampling", plan.model_ids, [ask.sampling])


def _placed(
    key: str, model_ids: Sequence[int], levels: Sequence[SamplingParameters]
) -> Iterator[tuple[str, int, SamplingParameters]]:
    for number, level in enumerate(levels, start=1):
        place = key if len(levels) == 1 else f"{key}, level {number}"
        for model_id in model_ids:
            yield place, model_id, level
