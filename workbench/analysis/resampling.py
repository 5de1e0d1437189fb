"""Intervals that resample questions: which questions were asked is the chance that they tell of.

Ratings of one question hang together (the same texts, the same raters in the same minute), so that
resampling single ratings would make intervals too narrow. Questions are drawn with replacement; the
spread of what is computed from each draw is the standard error (the cluster bootstrap). Where a
model is fitted, each question is left out in turn instead (the cluster jackknife). The interval is
the estimate plus and minus that error times Student's t with one degree of freedom less than there
are questions: percentiles of the draws are too narrow where questions are few. See Cameron, Gelbach
and Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors" (2008).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[Any]
"""Numbers; each function tells their shape."""

N_DRAWS = 400
LEVEL = 0.95
SEED = 20_240
FEW_QUESTIONS = 10
"""Under so many, other questions may well tell another story; figures say so."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; the ends are None where there is only one question."""

    value: float
    low: float | None = None
    high: float | None = None


@lru_cache(maxsize=8)
def draw_weights(n_questions: int, n_draws: int = N_DRAWS, seed: int = SEED) -> Array:
    """Return how often each question is in each draw: shape (``n_draws``, ``n_questions``).

    The seed is fixed, so that the same ratings always give the same figures.
    """
    random = np.random.default_rng(seed)
    drawn = random.integers(0, max(1, n_questions), size=(n_draws, n_questions))
    # All draws are counted at once: draw d counts question q at d * n_questions + q.
    drawn += np.arange(n_draws)[:, None] * n_questions
    counts = np.bincount(drawn.ravel(), minlength=n_draws * n_questions)
    weights = counts.reshape(n_draws, n_questions).astype(float)
    weights.flags.writeable = False
    return weights


def intervals(values: Array, draws: Array, n_questions: int) -> tuple[Array, Array]:
    """Return the lower and upper ends for ``values`` of shape (n,), given draws of (draws, n).

    Draws in which a value cannot be computed are NaN and left out. Both ends are NaN where fewer
    than two questions, or fewer than half of the draws, tell anything, and where all draws are the
    same.

    Args:
        values: What was computed from all questions.
        draws: The same from each draw.
        n_questions: How many questions there are.
    """
    if n_questions < 2:
        return within_errors(values, np.zeros(len(values)), n_questions)
    known = np.isfinite(draws)
    n_known = np.maximum(known.sum(axis=0), 2)
    kept = np.where(known, draws, 0.0)
    mean = kept.sum(axis=0) / n_known
    variance = np.where(known, (kept - mean) ** 2, 0.0).sum(axis=0) / (n_known - 1)
    # Drawing n with replacement spreads by the factor (n - 1) / n too little.
    error = np.sqrt(variance * n_questions / (n_questions - 1))
    error[known.mean(axis=0) < 0.5] = np.nan
    return within_errors(values, error, n_questions)


def jackknife_errors(changes: Array) -> Array:
    """Return standard errors (n,), given what leaving each question out changes (questions, n).

    Where effects are fitted to few questions it is safer than drawing them: see Cameron and Miller,
    "A Practitioner's Guide to Cluster-Robust Inference" (2015), section VI.B.
    """
    n = len(changes)
    return np.asarray(np.sqrt(((changes - changes.mean(axis=0)) ** 2).sum(axis=0) * (n - 1) / n))


def within_errors(values: Array, errors: Array, n_questions: int) -> tuple[Array, Array]:
    """Return both ends of the intervals, given standard errors; NaN where these tell nothing."""
    if n_questions < 2:
        return np.full(len(values), np.nan), np.full(len(values), np.nan)
    known = np.where(errors < 1e-9, np.nan, errors)
    reach = stats.t.ppf((1 + LEVEL) / 2, n_questions - 1) * known
    return values - reach, values + reach


def share(hits: Array, totals: Array) -> Estimate:
    """Return the share of ``hits`` in ``totals``, given both by question, with its interval.

    The interval holds that of independent ratings (Wilson's), which is the wider one where few
    questions all say the same.

    Raises:
        ValueError: There is nothing to share.
    """
    n = totals.sum()
    if not n:
        raise ValueError("no totals")
    value = np.array([hits.sum() / n])
    weights = draw_weights(len(totals))
    drawn = weights @ totals
    draws = np.divide(weights @ hits, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
    low, high = intervals(value, draws[:, None], len(totals))
    if len(totals) < 2:
        return Estimate(float(value[0]))
    wilson = stats.binomtest(min(round(hits.sum()), round(n)), max(1, round(n))).proportion_ci(
        LEVEL, method="wilson"
    )
    return Estimate(
        float(value[0]),
        max(0.0, float(np.fmin(low[0], wilson.low))),
        min(1.0, float(np.fmax(high[0], wilson.high))),
    )


def mean(values: Array, lowest: float = -np.inf, highest: float = np.inf) -> Estimate:
    """Return the mean of one value a question with its interval, kept within the bounds given."""
    weights = draw_weights(len(values))
    found = np.array([values.mean()])
    low, high = intervals(found, (weights @ values)[:, None] / len(values), len(values))
    # NumPy's keep an end that is not known (NaN); Python's would put a bound in its place.
    return estimate(found[0], np.maximum(lowest, low[0]), np.minimum(highest, high[0]))


def estimate(value: float, low: float, high: float) -> Estimate:
    """Return an estimate whose ends are None where they are NaN."""
    known = bool(np.isfinite(low) and np.isfinite(high))
    return Estimate(float(value), float(low) if known else None, float(high) if known else None)
