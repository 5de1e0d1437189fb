"""Intervals that resample questions: which questions were asked is the chance that they tell of.

Ratings of one question hang together (the same texts, the same raters in the same minute), so that
resampling single ratings would make intervals too narrow. Questions are drawn with replacement; the
spread of what is computed from each draw is the standard error (the cluster bootstrap). Where a
model is fitted, each question is left out in turn instead (the cluster jackknife); of a mean of one
value a question the standard error needs no draws. The interval is
the estimate plus and minus that error times Student's t with one degree of freedom less than there
are questions: percentiles of the draws are too narrow where questions are few. See Cameron, Gelbach
and Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors" (2008).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Array = npt.NDArray[Any]
"""Numbers; each function tells their shape."""
N_DRAWS = 400
LEVEL = 0.95
SEED = 20_240
RESOLUTION = 0.01
"""The least difference of one question that counts, where a measure has none of its own: pages
show two decimals."""
MIN_QUESTIONS = 10
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


def intervals(
    values: Array, draws: Array, n_questions: int, *, level: float = LEVEL
) -> tuple[Array, Array]:
    """Return the lower and upper ends for ``values`` of shape (n,), given draws of (draws, n).

    Draws in which a value cannot be computed are NaN and left out. Both ends are NaN where fewer
    than two questions, or fewer than half of the draws, tell anything, and where all draws are the
    same.

    Args:
        values: What was computed from all questions.
        draws: The same from each draw.
        n_questions: How many questions there are.
        level: Share of repetitions that are to hold the truth.
    """
    if n_questions < 2:
        return within_errors(values, np.zeros(len(values)), n_questions)
    known = np.isfinite(draws)
    n_known = np.maximum(known.sum(axis=0), 2)
    finite = np.where(known, draws, 0.0)
    mean = finite.sum(axis=0) / n_known
    variance = np.where(known, (finite - mean) ** 2, 0.0).sum(axis=0) / (n_known - 1)
    # Drawing n with replacement spreads by the factor (n - 1) / n too little.
    error = np.sqrt(variance * n_questions / (n_questions - 1))
    error[known.mean(axis=0) < 0.5] = np.nan
    return within_errors(values, error, n_questions, level=level)


def jackknife_errors(changes: Array) -> Array:
    """Return standard errors (n,), given what leaving each question out changes (questions, n).

    Where effects are fitted to few questions it is safer than drawing them: see Cameron and Miller,
    "A Practitioner's Guide to Cluster-Robust Inference" (2015), section VI.B.
    """
    n = len(changes)
    return np.asarray(np.sqrt(((changes - changes.mean(axis=0)) ** 2).sum(axis=0) * (n - 1) / n))


def within_errors(
    values: Array,
    errors: Array,
    n_questions: int,
    *,
    level: float = LEVEL,
    resolution: float = 0.0,
) -> tuple[Array, Array]:
    """Return both ends of the intervals, given standard errors; NaN where these tell nothing.

    Args:
        values: Shape (n,).
        errors: Shape (n,); about 0 where all questions say the same.
        n_questions: How many questions there are.
        level: Share of repetitions that are to hold the truth.
        resolution: The least difference of one question that counts. Where all questions say the
            same, a share ``unseen`` of all others may still differ by that much, so that no spread
            is no lack of knowledge; with 0 the ends are NaN then.
    """
    if n_questions < 2:
        return np.full(len(values), np.nan), np.full(len(values), np.nan)
    floor = resolution * unseen(n_questions, level)
    known = errors if floor else np.where(errors < 1e-9, np.nan, errors)
    reach = np.maximum(special.stdtrit(n_questions - 1, (1 + level) / 2) * known, floor)
    return values - reach, values + reach


def unseen(n_questions: int, level: float = LEVEL) -> float:
    """Return how great a share of all questions can be of a kind that none of those asked was of.

    It is the upper end of Clopper and Pearson's interval for 0 of ``n_questions``.
    """
    return float(1.0 - ((1.0 - level) / 2) ** (1.0 / n_questions))


def wilson(value: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval for a share of ``n``, which need not be whole (1927)."""
    z2 = float(special.ndtri((1 + level) / 2)) ** 2
    middle = (value + z2 / (2 * n)) / (1 + z2 / n)
    reach = float(np.sqrt(z2 * value * (1 - value) / n + (z2 / (2 * n)) ** 2)) / (1 + z2 / n)
    # At 0 and 1 an end is the value itself; rounding must not put it on the other side.
    return min(value, middle - reach), max(value, middle + reach)


def share(hits: Array, totals: Array, level: float = LEVEL) -> Estimate:
    """Return the share of ``hits`` in ``totals``, given both by question, with its interval.

    The interval holds that of independent ratings (Wilson's), which is the wider one where few
    questions all say the same. Where all ratings say the same, nothing tells how far those of one
    question hang together; each question counts as one rating then.

    Raises:
        ValueError: There is nothing to share.
    """
    n = float(totals.sum())
    if not n:
        raise ValueError("no totals")
    value = np.array([hits.sum() / n])
    if len(totals) < 2:
        return Estimate(float(value[0]))
    weights = draw_weights(len(totals))
    drawn = weights @ totals
    draws = np.divide(weights @ hits, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
    low, high = intervals(value, draws[:, None], len(totals), level=level)
    n_independent = n if 0 < value[0] < 1 else float(np.minimum(totals, 1).sum())
    score = wilson(float(np.minimum(1.0, value[0])), n_independent, level)
    return Estimate(
        float(value[0]),
        max(0.0, float(np.fmin(low[0], score[0]))),
        min(1.0, float(np.fmax(high[0], score[1]))),
    )


def mean(
    values: Array,
    lowest: float = -np.inf,
    highest: float = np.inf,
    *,
    resolution: float = RESOLUTION,
    level: float = LEVEL,
) -> Estimate:
    """Return the mean of one value a question with its interval, kept within the bounds given.

    Args:
        values: Shape (questions,).
        lowest: What the mean cannot be less than.
        highest: What it cannot be greater than.
        resolution: As in ``within_errors``.
        level: Share of repetitions that are to hold the truth.
    """
    found, n = values.mean(), len(values)
    if n < 2:
        return Estimate(float(found))
    error = values.std(ddof=1) / np.sqrt(n)
    low, high = within_errors(
        np.array([found]), np.array([error]), n, level=level, resolution=resolution
    )
    return estimate(found, np.maximum(lowest, low[0]), np.minimum(highest, high[0]))


def estimate(value: float, low: float, high: float) -> Estimate:
    """Return an estimate whose ends are None where they are NaN."""
    known = bool(np.isfinite(low) and np.isfinite(high))
    return Estimate(float(value), float(low) if known else None, float(high) if known else None)


N_WEIGHTINGS = 4000
MOST_NUMBERS = 2_000_000
"""Of the weights that are drawn at once: with many values there are fewer weightings."""


def upper_bound(values: Array, highest: float, level: float = LEVEL, times: float = 1.0) -> float:
    """Return what the mean of the values' population is below, in ``level`` of all samples.

    Args:
        values: Shape (n,), at least one, none above ``highest``.
        highest: The most that a value can be.
        level: Of the one-sided bound.
        times: What the bound would be if each value had been seen so often, which tells of samples
            of another size.
    """
    weights = _weights(len(values), times)
    drawn = weights[:, :-1] @ values + weights[:, -1] * highest
    return max(float(np.quantile(drawn, level)), _student(values, level, times))


def lower_bound(values: Array, lowest: float, level: float = LEVEL, times: float = 1.0) -> float:
    """Return what the mean is above; see ``upper_bound``."""
    return -upper_bound(-np.asarray(values), -lowest, level, times)


def bounded_mean(values: Array, lowest: float, highest: float) -> Estimate:
    """Return the mean with its 95 % interval; without ends where there is a single value."""
    if len(values) < 2:
        return Estimate(float(values.mean()))
    one_sided = (1 + LEVEL) / 2
    return Estimate(
        float(values.mean()),
        lower_bound(values, lowest, one_sided),
        min(highest, upper_bound(values, highest, one_sided)),
    )


def _student(values: Array, level: float, times: float) -> float:
    n = len(values) * times
    if len(values) < 2 or n < 2:
        return -np.inf
    error = values.std(ddof=1) / np.sqrt(n)
    return float(values.mean() + stats.t.ppf(level, n - 1) * error)


@lru_cache(maxsize=8)
def _weights(n: int, times: float) -> Array:
    """Return weights that add up to 1, the imagined value's last: shape (weightings, n + 1)."""
    random = np.random.default_rng(SEED)
    n_weightings = max(N_WEIGHTINGS // 10, min(N_WEIGHTINGS, MOST_NUMBERS // n))
    seen = random.standard_gamma(times, size=(n_weightings, n))
    seen /= seen.sum(axis=1, keepdims=True)
    # The imagined value's weight depends on none of the others: evenly spaced, it is nearly exact.
    even = (random.permutation(n_weightings) + 0.5) / n_weightings
    imagined = 1.0 - even ** (1.0 / (n * times))
    weights = np.column_stack([seen * (1.0 - imagined[:, None]), imagined])
    weights.flags.writeable = False
    return weights
