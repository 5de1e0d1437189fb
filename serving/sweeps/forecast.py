"""What a plan may expect of a model, from its own past generations: lengths, speed, done slots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from db.engines import servers_of
from db.errors import UsageError
from db.models import get_model
from db.tables import (
    Generation,
    ReasoningVariant,
    Sampling,
)
from serving.engine.messages import SamplingParameters
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
