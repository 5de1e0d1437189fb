"""What servers cannot do that a sweep asks for: said in its plan, or refused."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import Q2QError, UsageError
from db.messages import Message
from db.tables import Engine, EngineModel, ModelVersion, PromptFormat
from serving.engine.client import ServedModel
from serving.engine.messages import NEUTRAL, SamplingParameters
from serving.sweeps.slots import WRITING, ResolvedPlan


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the servers of a model were seen to refuse."""

    model: str
    server: str
    """Of a pool, one that refuses something."""
    refused: frozenset[str]
    """Fields of a request."""
    honours_seeds: bool
    only_chat: bool = False
    """It takes messages alone, and renders them itself."""
    drops_system: bool = False
    """Of messages, it drops that of the system."""
    has_price: bool = True
    """Also of servers of one's own, which cost nothing."""

    def with_another(self, other: "ServerLimits") -> "ServerLimits":
        """Return the limits of both in one pool, named by one that refuses something."""
        is_less = not (other.honours_seeds and other.has_price and other.refused <= self.refused)
        return replace(
            other if is_less else self,
            refused=self.refused | other.refused,
            honours_seeds=self.honours_seeds and other.honours_seeds,
            has_price=self.has_price and other.has_price,
        )


UNKNOWN_TO_CHAT = ("top_k", "min_p", "repetition_penalty")
"""Not of OpenAI's API: a server of another make may take them and heed none."""


def known_limits(session: Session, model_ids: Collection[int]) -> dict[int, ServerLimits]:
    """Return the limits of models that are offered now; a pool refuses what one of it refuses."""
    rows = session.execute(
        select(
            EngineModel.model_version_id,
            ModelVersion.name,
            Engine.name,
            Engine.capabilities,
            Engine.kind,
            Engine.offers,
            EngineModel.served_name,
        )
        .join(Engine, Engine.id == EngineModel.engine_id)
        .join(ModelVersion, ModelVersion.id == EngineModel.model_version_id)
        .where(EngineModel.model_version_id.in_(model_ids))
        .order_by(Engine.id)
    )
    found: dict[int, ServerLimits] = {}
    for model_id, model, server, can, kind, offers, name in rows:
        own = ServerLimits(
            model=model,
            server=server,
            refused=frozenset(can.get("refused_fields", ())),
            honours_seeds=bool(can.get("seed", True)),
            only_chat=not can.get("completions", True),
            drops_system=not can.get("system_messages", True),
            has_price=kind == "child" or bool((offers or {}).get(name)),
        )
        known = found.get(model_id, own)
        if known.only_chat != own.only_chat:  # it takes no part, see ``serving.engine.pool``
            found[model_id] = own if known.only_chat else known
        else:
            found[model_id] = known.with_another(own)
    return found


def check_against_limits(
    session: Session, plan: ResolvedPlan, *, max_cost: float | None
) -> list[str]:
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
    tagged = tagged_formats(session, plan)
    problems += [
        f"formats: {', '.join(tagged)} cannot be sent to the server {one.server} of {one.model}, "
        "which has only /v1/chat/completions and puts every prompt into its own chat template"
        for one in limits.values()
        if tagged and one.only_chat
    ]
    problems += [
        f"max_cost: the price of {one.model} on the server {one.server} is not known; give it on "
        "Models, or with `q2q serve price`"
        for one in limits.values()
        if max_cost is not None and not one.has_price
    ]
    if problems:
        raise UsageError(
            "{problems}. Leave it out, or name a model of another server.",
            problems="; ".join(problems),
        )
    refusing = [
        Message(
            "The server {server} of {model} refuses {names}: it is not sent there and cannot be"
            " varied.",
            server=one.server,
            model=one.model,
            names=", ".join(names),
        )
        for one in limits.values()
        if (names := [name for name in NEUTRAL if name in one.refused])
    ]
    return [*refusing, *_of_chats(plan, limits)]


def _of_chats(plan: ResolvedPlan, limits: Mapping[int, ServerLimits]) -> list[str]:
    """Return what cannot be varied or known where servers take messages alone."""
    sentences: list[str] = []
    for model_id, one in limits.items():
        if not one.only_chat:
            continue
        sentences.append(
            Message(
                "The server {server} of {model} has only /v1/chat/completions: roles go as system"
                " messages and questions as user messages, by its own chat template. Tagged"
                " formats, begun reasonings, token ids and log-probabilities cannot be had there.",
                server=one.server,
                model=one.model,
            )
        )
        if one.drops_system:
            sentences.append(
                Message(
                    "The server {server} drops system messages: roles head the user's message.",
                    server=one.server,
                )
            )
        levels = [level for _, own, level in _levels(plan) if own == model_id]
        unknown = [
            name
            for name in UNKNOWN_TO_CHAT
            if any(name in refused_values(level, UNKNOWN_TO_CHAT) for level in levels)
        ]
        if unknown:
            sentences.append(
                Message(
                    "Whether the server {server} heeds {names} is not known: the OpenAI API has no"
                    " such field.",
                    server=one.server,
                    names=", ".join(unknown),
                )
            )
    return sentences


def tagged_formats(session: Session, plan: ResolvedPlan) -> list[str]:
    """Return the formats of ``plan`` that are plain text with tags, for models trained on them."""
    forms = select(PromptFormat.name, PromptFormat.version, PromptFormat.definition)
    rows = session.execute(
        forms.where(PromptFormat.id.in_({one for ids in plan.formats.values() for one in ids}))
    )
    return [f"{row[0]}@{row[1]}" for row in rows if row[2]["kind"] == "tagged"]


def check_served(
    plan: ResolvedPlan,
    served: Mapping[int, ServedModel],
    *,
    tagged: Sequence[str] = (),
    max_cost: float | None = None,
) -> None:
    """Refuse to run levels that the servers now at hand do not take.

    Args:
        plan: The sweep's.
        served: By model.
        tagged: Its formats that are plain text with tags.
        max_cost: Its budget, which holds only where prices are known.

    Raises:
        Q2QError: The sentence names the level and the server's model.
    """
    for one in (each for model in served.values() for each in model.everywhere):
        if max_cost is not None and one.price is None:
            raise Q2QError(
                "The price of {served_name} on its server is not known, so that max_cost cannot be"
                " kept to; give it on Models, or with `q2q serve price`.",
                served_name=one.served_name,
            )
    for one in served.values() if tagged else ():
        if not one.capabilities.completions:
            raise Q2QError(
                "{formats} cannot be sent to the server of {served_name}, which has only"
                " /v1/chat/completions; plan the sweep with a chat format.",
                formats=", ".join(tagged),
                served_name=one.served_name,
            )
    for place, model_id, level in _levels(plan):
        model = served.get(model_id)
        if model is None:
            continue
        if level.seed is not None and not model.capabilities.seed:
            raise Q2QError(
                "The server of {served_name} does not honour seeds; plan the sweep"
                " without the key seed.",
                served_name=model.served_name,
            )
        refused = refused_values(level, model.capabilities.refused_fields)
        for name, value in refused.items():
            raise Q2QError(
                "{place}: {name} {value:g} cannot be set, since the server of "
                "{served_name} refuses {name}; plan the sweep without it.",
                place=place,
                name=name,
                value=value,
                served_name=model.served_name,
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
