"""What a plan may expect of a model, from its own past generations: lengths, speed, done slots."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from db.engines import servers_of
from db.errors import Q2QError, UsageError
from db.messages import Message
from db.models import get_model
from db.tables import (
    Engine,
    EngineModel,
    Generation,
    ModelVersion,
    PromptFormat,
    ReasoningVariant,
    Sampling,
)
from serving.engine.client import ServedModel
from serving.engine.messages import NEUTRAL, SamplingParameters
from serving.sweeps.slots import WRITING, Kind, ResolvedPlan, models_of

LOOK_BACK = 2_000
"""Newest generations of a model that are looked at."""
MAX_GAP_S = 20.0
"""A longer pause between two results is no work."""
COUNT_DONE_UP_TO = 200_000
"""Stored generations beyond which a plan does not look for slots that exist already."""


@dataclass(frozen=True, slots=True)
class ModelHistory:
    """What the newest generations of one model tell."""

    mean_tokens: Mapping[tuple[Kind, int], float]
    """Kind of text and ``max_tokens`` → tokens that a completion had on average."""
    tokens_per_second: float | None

    def expect(self, kind: Kind, max_tokens: int) -> tuple[float, bool]:
        """Return the tokens to expect of a completion, and whether that is only the upper bound."""
        known = self.mean_tokens.get((kind, max_tokens))
        return (float(max_tokens), True) if known is None else (known, False)


def history_of(session: Session, model_id: int) -> ModelHistory:
    """Return what the newest generations of a model tell; little work whatever the store holds."""
    rows: Sequence[Any] = session.execute(
        select(
            Generation.kind,
            Generation.completion_tokens,
            Generation.created_at,
            Generation.sampling_id,
        )
        .where(
            Generation.model_version_id == model_id,
            Generation.ok,
            Generation.completion_tokens.is_not(None),
        )
        .order_by(Generation.id.desc())
        .limit(LOOK_BACK)
    ).all()
    parameters = session.execute(
        select(Sampling.id, Sampling.parameters).where(
            Sampling.id.in_({row.sampling_id for row in rows})
        )
    )
    limits = {row[0]: int(row[1]["max_tokens"]) for row in parameters}
    lengths: dict[tuple[Kind, int], list[int]] = {}
    for kind, tokens, _, sampling_id in rows:
        if kind in ("reasoning", "answer", "whole"):
            lengths.setdefault((kind, limits[sampling_id]), []).append(tokens)
    return ModelHistory(
        mean_tokens={key: sum(known) / len(known) for key, known in lengths.items()},
        tokens_per_second=_speed([(row[2], row[1]) for row in rows]),
    )


def _speed(results: Sequence[tuple[datetime, int]]) -> float | None:
    """Return tokens a second from (time, tokens), newest first; None where too little is known."""
    seconds = 0.0
    tokens = 0
    for (later, n_tokens), (earlier, _) in pairwise(results):
        gap = (later - earlier).total_seconds()
        if 0 <= gap <= MAX_GAP_S:
            seconds += gap
            tokens += n_tokens
    return tokens / seconds if seconds >= 1.0 else None


def count_done(session: Session, plan: ResolvedPlan) -> int | None:
    """Count slots of ``plan`` that past sweeps have sampled; None where that would take long.

    Prompts are not rendered: a model whose tokenizer was replaced since is counted all the same.
    """
    newest = session.scalar(select(func.max(Generation.id))) or 0
    if newest > COUNT_DONE_UP_TO:
        return None
    answer_ids = _sampling_ids(session, plan.answer_sampling)
    questions = set(plan.question_ids)
    made = written_before(session, plan)
    under = made | {
        one for ids in plan.chosen.values() for one in ids if "supplied" in plan.formats
    }
    answers = session.execute(
        select(Generation.question_id, Generation.variant_id).where(
            Generation.ok,
            Generation.kind == "answer",
            Generation.sampling_id.in_(answer_ids),
            Generation.model_version_id.in_(plan.answer_model_ids or plan.model_ids),
            Generation.replicate < plan.answers,
            Generation.prompt_format_id.in_(_all_formats(plan)),
            Generation.role_id.in_(_all_roles(plan)),
        )
    )
    n_answers = sum(
        (variant_id in under) if variant_id is not None else "vanilla" in plan.formats
        for question_id, variant_id in answers
        if question_id in questions
    )
    return len(made) + n_answers


def written_before(session: Session, plan: ResolvedPlan) -> set[int]:
    """Return the variants that past sweeps wrote at the writing levels of ``plan``."""
    sampling_ids = _sampling_ids(session, plan.reasoning_sampling)
    questions = set(plan.question_ids)
    source = aliased(Generation)
    rows = session.execute(
        select(ReasoningVariant.question_id, ReasoningVariant.id)
        .join(source, source.id == ReasoningVariant.generation_id)
        .where(
            source.sampling_id.in_(sampling_ids),
            source.model_version_id.in_(plan.model_ids),
            source.mode.in_([mode for mode in WRITING if mode in plan.formats]),
            source.prompt_format_id.in_(_all_formats(plan)),
            source.role_id.in_(_all_roles(plan)),
            source.replicate < plan.variants,
            source.kind == ("whole" if plan.one_pass else "reasoning"),
        )
    )
    return {variant_id for question_id, variant_id in rows if question_id in questions}


def _all_formats(plan: ResolvedPlan) -> set[int]:
    return {format_id for ids in plan.formats.values() for format_id in ids}


def _all_roles(plan: ResolvedPlan) -> set[int]:
    return {role_id for ids in plan.roles.values() for role_id in ids}


def _sampling_ids(session: Session, levels: Sequence[SamplingParameters]) -> list[int]:
    wanted = [level.resolved() for level in levels]
    rows = session.execute(select(Sampling.id, Sampling.parameters))
    return [
        sampling_id
        for sampling_id, parameters in rows
        if {key: parameters.get(key) for key in wanted[0]} in wanted
    ]


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


UNKNOWN_TO_CHAT = ("top_k", "min_p", "repetition_penalty")
"""Not of OpenAI's API: a server of another make may take them and heed none."""


def known_limits(session: Session, model_ids: Collection[int]) -> dict[int, ServerLimits]:
    """Return the limits of models that are offered now; a pool refuses what one of it refuses."""
    rows = session.execute(
        select(EngineModel.model_version_id, ModelVersion.name, Engine.name, Engine.capabilities)
        .join(Engine, Engine.id == EngineModel.engine_id)
        .join(ModelVersion, ModelVersion.id == EngineModel.model_version_id)
        .where(EngineModel.model_version_id.in_(model_ids))
        .order_by(Engine.id)
    )
    found: dict[int, ServerLimits] = {}
    for model_id, model, server, can in rows:
        refused = frozenset(can.get("refused_fields", ()))
        has_seeds = bool(can.get("seed", True))
        only_chat = not can.get("completions", True)
        known = found.get(model_id)
        if known is None or (known.only_chat and not only_chat):  # see ``serving.engine.pool``
            found[model_id] = ServerLimits(model, server, refused, has_seeds, only_chat)
        elif only_chat and not known.only_chat:
            continue
        elif not has_seeds or not refused <= known.refused:
            found[model_id] = ServerLimits(
                model, server, refused | known.refused, has_seeds and known.honours_seeds, only_chat
            )
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
    tagged = tagged_formats(session, plan)
    problems += [
        f"formats: {', '.join(tagged)} cannot be sent to the server {one.server} of {one.model}, "
        "which has only /v1/chat/completions and puts every prompt into its own chat template"
        for one in limits.values()
        if tagged and one.only_chat
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
    rows = session.execute(forms.where(PromptFormat.id.in_(_all_formats(plan))))
    return [f"{row[0]}@{row[1]}" for row in rows if row[2]["kind"] == "tagged"]


def check_served(
    plan: ResolvedPlan, served: Mapping[int, ServedModel], tagged: Sequence[str] = ()
) -> None:
    """Refuse to run levels that the servers now at hand do not take.

    Args:
        plan: The sweep's.
        served: By model.
        tagged: Its formats that are plain text with tags.

    Raises:
        Q2QError: The sentence names the level and the server's model.
    """
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


def check_no_slot_twice(session: Session, plan: ResolvedPlan) -> None:
    """Refuse to supply a reasoning that the sweep also writes: one slot would count twice."""
    if "supplied" not in plan.formats or not set(WRITING) & plan.formats.keys():
        return
    supplied = {one for ids in plan.chosen.values() for one in ids}
    doubled = supplied & written_before(session, plan)
    if doubled:
        raise UsageError(
            "{n_doubled:,} of the reasonings asked for, such as v{doubled}, are written by"
            " this sweep itself; run mode supplied as a sweep of its own, or choose other ones.",
            n_doubled=len(doubled),
            doubled=min(doubled),
        )


def offered_by(session: Session, plan: ResolvedPlan) -> dict[str, tuple[str, ...]]:
    """Return the models of ``plan`` that are offered now, each with its servers."""
    offered = servers_of(session, models_of(plan))
    return {get_model(session, model_id).name: names for model_id, names in offered.items()}
