"""A comparison of two models from values by question, as rounds make it of texts."""

from collections.abc import Mapping, Sequence

import numpy as np

from workbench.rounds.comparison import (
    Change,
    Comparison,
    Figure,
    ModelFigures,
    _change,
    _estimate,
)
from workbench.rounds.head_to_head import HeadToHead
from workbench.stats.intervals import Estimate
from workbench.stats.samples import PointsSample

Values = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Measure → its values before and after, question by question."""
OWN = 2


def comparison(values: Values, *, people: PointsSample | None = None) -> Comparison:
    """Return the comparison of the model ``base`` (1) with the round's own (2)."""
    before = {name: dict(enumerate(pair[0])) for name, pair in values.items()}
    after = {name: dict(enumerate(pair[1])) for name, pair in values.items()}
    changes = (_change(name, before[name], after[name]) for name in values)
    return Comparison(
        sweep_id=1,
        n_questions=max(map(len, after.values())),
        n_unanswerable=0,
        formats=("tagged@1",),
        has_greedy=True,
        has_sampled=True,
        models=(
            _model(1, "base", before, ()),
            _model(OWN, "round", after, tuple(one for one in changes if one is not None)),
        ),
        duels=() if people is None else (_duel(people),),
    )


def fallen(n: int, lost: int, won: int = 0) -> tuple[list[float], list[float]]:
    """Return a share of ``n`` questions that ``lost`` and ``won`` some; the others have it."""
    before, after = np.ones(n), np.ones(n)
    after[:lost] = 0
    before[lost : lost + won] = 0
    return list(before), list(after)


def preferred(n: int, points: Sequence[float], raters: int = 1) -> PointsSample:
    """Return points of ``n`` questions, each judged by all raters, ``points`` in turn."""
    return PointsSample(
        question=tuple(q for q in range(n) for _ in range(raters)),
        rater=tuple(range(raters)) * n,
        points=tuple(points[q % len(points)] for q in range(n) for _ in range(raters)),
    )


def _model(
    model_id: int, name: str, values: Mapping[str, Mapping[int, float]], changes: tuple[Change, ...]
) -> ModelFigures:
    return ModelFigures(
        model_id=model_id,
        model=name,
        n_completions=9,
        figures=tuple(
            Figure(measure=one, found=_estimate(one, dict(own)), n_questions=len(own))
            for one, own in values.items()
        ),
        changes=changes,
        well_formed_by_language=(),
    )


def _duel(people: PointsSample) -> HeadToHead:
    nothing = Estimate(0.0)
    return HeadToHead(
        model="round",
        against="base",
        raters="person",
        scope="whole",
        n_raters=len(set(people.rater)),
        n_questions=len(set(people.question)),
        n_judgements=len(people.points),
        won=nothing,
        tied=nothing,
        lost=nothing,
        points=people.interval(),
        both_bad=0,
        sample=people,
    )
