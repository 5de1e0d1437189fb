"""The order in which models that cannot be served together are served, one set after the other.

First every set in turn: it writes its reasonings, and answers under those and all earlier ones.
Then, where needed, sets again: they answer under reasonings that were written after their turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.sweeps.slots import ResolvedPlan, answering_levels


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
