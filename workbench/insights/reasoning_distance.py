"""Whether answers under different reasonings differ more than answers under the same one.

For engines without log-probabilities. The distance of two answers is one less how alike their
wording is (``workbench.insights.diversity``): it does not see meaning, and says nothing of how much
a reasoning decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.insights.diversity import likeness
from workbench.insights.reasoning_score import N_PERMUTATIONS
from workbench.insights.resampling import SEED, Array, Estimate, mean


@dataclass(frozen=True, slots=True)
class Distances:
    """The answers of one question: how far each is from each, and under which reasoning it is."""

    apart: Array
    """0 to 1: shape (answers, answers)."""
    own: Array
    """Shape (answers,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BetweenWithin:
    """Distances over questions."""

    between: Estimate
    """Of two answers under different reasonings, 0 to 1."""
    within: Estimate
    """Of two answers under the same reasoning."""
    gap: Estimate
    """How much further apart the former are."""
    p: float
    """By permutation: how likely so wide a gap is by chance."""
    n_questions: int


def distances(texts: Sequence[str], own: Sequence[int]) -> Distances | None:
    """Return the distances of ``texts``; None unless some share a reasoning and some do not."""
    labels = np.asarray(own)
    n_under = np.unique(labels, return_counts=True)[1]
    if len(n_under) < 2 or n_under.max() < 2:
        return None
    return Distances(1.0 - likeness(texts), labels)


def between_within(questions: Sequence[Distances], n: int = N_PERMUTATIONS) -> BetweenWithin:
    """Return the mean distances over ``questions``, at least one, with intervals and a p-value.

    For the p-value the answers of each question are dealt to its reasonings anew.
    """
    random = np.random.default_rng(SEED)
    found = np.array([_means(one.apart, one.own) for one in questions])
    dealt = np.zeros(n)
    for one in questions:
        orders = random.permuted(np.tile(one.own, (n, 1)), axis=1)
        dealt += [np.subtract(*_means(one.apart, order)) for order in orders]
    gaps = found[:, 0] - found[:, 1]
    return BetweenWithin(
        between=mean(found[:, 0], lowest=0.0, highest=1.0),
        within=mean(found[:, 1], lowest=0.0, highest=1.0),
        gap=mean(gaps),
        p=float((1 + np.count_nonzero(dealt >= gaps.sum() - 1e-9)) / (n + 1)),
        n_questions=len(questions),
    )


def _means(apart: Array, own: Array) -> tuple[float, float]:
    """Return the mean distance between answers of different reasonings, and of the same."""
    above = np.triu_indices(len(own), 1)
    same = own[above[0]] == own[above[1]]
    pairs = apart[above]
    return float(pairs[~same].mean()), float(pairs[same].mean())
