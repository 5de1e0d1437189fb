"""Which preference a set of comparisons will show: the power of the analysis that Insights makes.

The variance of a lead is that of the mixed-effects model of ``workbench.insights.mixed_effects``,
linearised at even chances: texts of one level share a deviation under each question, and each text
has one of its own. So a second comparison of the same pair makes its outcome surer and nothing
else, and ten comparisons under one question are not ten questions. Whether an interval of Student's
t leaves even chances out follows a noncentral t distribution.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components
from scipy.special import logit

from workbench.insights.mixed_effects import IMAGINED, USUAL_SPREAD, expected_points
from workbench.insights.resampling import LEVEL, Array

POWER: Final = 0.8
SHARES: Final = np.array([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
"""Shares of points at which errors are worked out; between them they are interpolated."""
SPREAD: Final = float(np.exp(USUAL_SPREAD))
"""Standard deviation of what texts of a level share under a question, and of what each has alone:
what Insights takes for usual before there are ratings."""
FEW_QUESTIONS: Final = (0.6, 10.0)
"""Errors grow by these over the number of questions, and over its square, since the spreads are
estimated as well: measured by ``benchmarks/queue_power.py``."""
ATTENUATION: Final = float(4 * (expected_points(np.array(0.01), 2 * SPREAD) - 0.5) / 0.01)
"""Of a small lead of texts that differ, on the scale of log odds of the share of points."""


class Meeting(NamedTuple):
    """Comparisons of two texts under one question."""

    question: int
    a: int
    b: int
    level_a: int
    level_b: int
    n: float
    """How many will decide something."""


def lead_errors(meetings: Iterable[Meeting], n_levels: int) -> Array:
    """Return the standard errors of the leads of levels: shape (shares, levels, levels).

    On the scale of log odds of the share of points, at each of ``SHARES``; infinite where nothing
    connects two levels.
    """
    by_question: defaultdict[int, list[Meeting]] = defaultdict(list)
    for meeting in meetings:
        if meeting.n > 0:
            by_question[meeting.question].append(meeting)
    information = np.zeros((len(SHARES), n_levels, n_levels))
    for own in by_question.values():
        information += _information(own, n_levels)
    return np.stack([_errors(one) for one in information])


def chance_to_show(share: float, errors: Array, n_questions: int) -> float:
    """Return the chance that the interval of a share of points lies above one half.

    Args:
        share: The true one, ½ to 1.
        errors: Of the lead of these two levels, shape (shares,).
        n_questions: Questions that tell of it.
    """
    if n_questions < 2 or not np.isfinite(errors).all():
        return 0.0
    needed = stats.t.ppf((1 + LEVEL) / 2, n_questions - 1)
    once, twice = FEW_QUESTIONS
    error = np.interp(share, SHARES, errors) * (1 + once / n_questions + twice / n_questions**2)
    return float(stats.nct.sf(needed, n_questions - 1, logit(share) / error))


def smallest_share(errors: Array, n_questions: int, power: float = POWER) -> float:
    """Return the smallest share of points, ½ to 1, that is shown with this power; 1: none is."""
    if chance_to_show(SHARES[-1], errors, n_questions) < power:
        return 1.0
    return float(
        brentq(lambda share: chance_to_show(share, errors, n_questions) - power, 0.5, SHARES[-1])
    )


def _information(own: list[Meeting], n_levels: int) -> Array:
    """Return what one question tells of the levels: shape (shares, levels, levels)."""
    texts = {text: place for place, text in enumerate({t for m in own for t in (m.a, m.b)})}
    of_level, of_text = np.zeros((len(own), n_levels)), np.zeros((len(own), len(texts)))
    for row, one in enumerate(own):
        of_level[row, one.level_a] += 1
        of_level[row, one.level_b] -= 1
        of_text[row, texts[one.a]] += 1
        of_text[row, texts[one.b]] -= 1
    spread = (ATTENUATION * SPREAD) ** 2
    varies = spread * (of_level @ of_level.T + of_text @ of_text.T)
    # One comparison by itself tells as much as one of a share of points.
    alone = 1 / (SHARES * (1 - SHARES)) - 4 * spread
    n = np.array([one.n for one in own])
    variance = varies + alone[:, None, None] * np.diag(1 / n)
    return np.asarray(
        of_level.T
        @ np.linalg.solve(variance, np.broadcast_to(of_level, (len(SHARES), *of_level.shape)))
    )


def _errors(information: Array) -> Array:
    n = len(information)
    variances = np.linalg.pinv(information + IMAGINED / 4 * (np.eye(n) - 1 / n))
    own = np.diag(variances)
    errors = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * variances, 0.0))
    _, part = connected_components(information < 0, directed=False)
    errors[part[:, None] != part[None, :]] = np.inf
    return np.asarray(errors)
