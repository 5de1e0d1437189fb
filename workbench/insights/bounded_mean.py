"""Confidence bounds for the mean of values that have a known end, also where they do not vary.

An upper bound must reckon with what the sample does not show: thirty questions without an effect
may stand for a set in which one of twenty has the largest. So one imagined value is put at the end,
and all are weighted by chance (evenly over all weights that add up to 1); the bound is the quantile
of the weighted means (Gaffke 2005; Learned-Miller and Thomas 2019, arXiv:1905.06208). Of n equal
values at the other end it is the exact binomial bound. The bound is never tighter than Student's t.
"""

from functools import lru_cache

import numpy as np
from scipy import stats

from workbench.insights.resampling import LEVEL, SEED, Array, Estimate

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
