"""Slots counted by arithmetic, and the order of the work. Pure: no store, no engine.

A *level* is one combination of factors. For a question, a writing level gives k reasonings, and
each reasoning n answers at every answering level.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from serving.engine.messages import SamplingParameters
from serving.formats.definitions import Task
from serving.sweeps.spec import Ask, Mode

TASK_OF_MODE: dict[Mode, Task] = {
    "reasoning": "reasoning",
    "supplied": "answer",
    "vanilla": "vanilla",
    "rationalise": "rationalise",
    "ensemble": "ensemble",
}
"""The first task of each mode; a reasoning is then answered with the task ``answer``."""
WRITING: tuple[Mode, ...] = ("reasoning", "rationalise", "ensemble")
"""Modes in which a model writes the reasoning."""


class ResolvedPlan(BaseModel):
    """What the names of a spec stood for when it was planned; stored with the sweep.

    It freezes the questions, so that a resume meets the same slots.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question_ids: tuple[int, ...]
    formats: dict[Mode, tuple[int, ...]]
    """Ids of the formats to try in each mode."""
    roles: dict[str, tuple[int, ...]]
    """A question's role → ids of the role versions to try with it."""
    questions_by_role: dict[str, int]
    """Number of questions of each role."""
    answerable_by_role: dict[str, int]
    """Of these, how many have a reference answer (for ``rationalise``)."""
    unanswerable_ids: tuple[int, ...] = ()
    """Questions that ``rationalise`` leaves out, since they have no reference answer."""
    model_ids: tuple[int, ...]
    answer_model_ids: tuple[int, ...] | None
    reasoning_sampling: tuple[SamplingParameters, ...]
    answer_sampling: tuple[SamplingParameters, ...]
    variants: int
    answers: int
    one_pass: bool = False
    """A reasoning slot is one completion that holds the reasoning and its answer."""
    chosen: dict[int, tuple[int, ...]]
    """Question → existing variants, for ``supplied`` and ``ensemble``."""
    chosen_by_role: dict[str, tuple[int, int]]
    """Role → number of chosen variants and of their pairs."""
    asks: tuple[Ask, ...] = ()
    """What a dialogue has written; by each of the models."""


class WritingLevel(NamedTuple):
    """Factors of k reasonings of one question."""

    mode: Mode
    format_id: int
    role_id: int
    model_id: int
    sampling: SamplingParameters


class AnsweringLevel(NamedTuple):
    """Factors of n answers under one reasoning, or under none."""

    model_id: int
    sampling: SamplingParameters


Kind = Literal["reasoning", "answer", "whole", "questions"]
"""What a slot gives; ``whole`` is a reasoning with its answer in one completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCounts:
    """Slots of a plan, and the prompts that they take."""

    reasoning_slots: int
    answer_slots: int
    reasoning_prompts: int
    answer_prompts: int

    @property
    def cells(self) -> int:
        """All slots."""
        return self.reasoning_slots + self.answer_slots


def writing_levels(plan: ResolvedPlan, role: str) -> Iterator[WritingLevel]:
    """Yield the levels at which reasonings are written for a question of ``role``."""
    for mode in WRITING:
        for format_id, role_id, model_id, sampling in product(
            plan.formats.get(mode, ()), plan.roles[role], plan.model_ids, plan.reasoning_sampling
        ):
            yield WritingLevel(mode, format_id, role_id, model_id, sampling)


def answering_levels(plan: ResolvedPlan, writer_id: int | None) -> list[AnsweringLevel]:
    """Return the levels at which a reasoning by ``writer_id`` is answered.

    None stands for no writer of this sweep: a supplied reasoning, or none at all.
    """
    if plan.answers == 0:
        return []
    if plan.answer_model_ids is not None:
        models = plan.answer_model_ids
    else:
        models = plan.model_ids if writer_id is None else (writer_id,)
    return [AnsweringLevel(*level) for level in product(models, plan.answer_sampling)]


def count_slots(plan: ResolvedPlan) -> SlotCounts:
    """Count all slots without listing them: k + k·n per level and question."""
    reasoning_prompts = answer_prompts = 0
    n_levels = len(plan.model_ids) * len(plan.reasoning_sampling)
    n_under = len(plan.answer_model_ids or (0,)) * len(plan.answer_sampling)
    n_plain = len(plan.answer_model_ids or plan.model_ids) * len(plan.answer_sampling)
    for role, role_ids in plan.roles.items():
        n_chosen, n_pairs = plan.chosen_by_role.get(role, (0, 0))
        subjects: Mapping[Mode, int] = {
            "reasoning": plan.questions_by_role.get(role, 0),
            "rationalise": plan.answerable_by_role.get(role, 0),
            "ensemble": n_pairs,
        }
        for mode in WRITING:
            prompts = subjects[mode] * len(plan.formats.get(mode, ())) * len(role_ids) * n_levels
            reasoning_prompts += prompts
            answer_prompts += prompts * plan.variants * n_under
        n_vanilla = plan.questions_by_role.get(role, 0) * len(plan.formats.get("vanilla", ()))
        n_supplied = n_chosen * len(plan.formats.get("supplied", ()))
        answer_prompts += (n_vanilla + n_supplied) * len(role_ids) * n_plain
    n_asked = sum(ask.replicates for ask in plan.asks) * len(plan.model_ids)
    return SlotCounts(
        reasoning_slots=reasoning_prompts * plan.variants,
        answer_slots=answer_prompts * plan.answers + n_asked,
        reasoning_prompts=reasoning_prompts,
        answer_prompts=(answer_prompts if plan.answers else 0)
        + len(plan.asks) * len(plan.model_ids),
    )


def answers_under_variant(plan: ResolvedPlan) -> int:
    """Return how many answer slots a reasoning of this sweep opens: blocked where it failed."""
    return len(answering_levels(plan, 0)) * plan.answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One time that a set of models is served."""

    models: frozenset[int]
    writes: frozenset[int]
    """Models that write their reasonings now."""
    earlier: frozenset[int]
    """Writers whose stored reasonings are answered now."""
    is_first: bool
    """Also runs the slots without a writer: vanilla and supplied."""


def models_of(plan: ResolvedPlan) -> list[int]:
    """Return the models that the slots of ``plan`` need, writers first."""
    writers = plan.model_ids if _has_writing(plan) or plan.answer_model_ids is None else ()
    answerers = plan.answer_model_ids or () if plan.answers else ()
    return list(dict.fromkeys((*writers, *answerers)))


def passes_over(plan: ResolvedPlan, groups: Sequence[frozenset[int]]) -> list[Pass]:
    """Return the passes that bring every slot of ``plan`` to its turn exactly once."""
    writers = frozenset(plan.model_ids) if _has_writing(plan) else frozenset[int]()
    first = [
        Pass(
            models=group,
            writes=group & writers,
            earlier=_answered_by(plan, group, frozenset[int]().union(*groups[:i]) & writers),
            is_first=True,
        )
        for i, group in enumerate(groups)
    ]
    again = [
        Pass(models=group, writes=frozenset(), earlier=later, is_first=False)
        for i, group in enumerate(groups)
        if (later := _answered_by(plan, group, frozenset[int]().union(*groups[i + 1 :]) & writers))
    ]
    return first + again


def _has_writing(plan: ResolvedPlan) -> bool:
    return any(mode in plan.formats for mode in ("reasoning", "rationalise", "ensemble"))


def _answered_by(
    plan: ResolvedPlan, group: frozenset[int], writers: frozenset[int]
) -> frozenset[int]:
    """Return those of ``writers`` whose reasonings some model of ``group`` answers."""
    return frozenset(
        writer
        for writer in writers
        if any(level.model_id in group for level in answering_levels(plan, writer))
    )
