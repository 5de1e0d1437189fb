"""Paired changes of a measure, question by question: intervals that hold without any spread.

Shares (0 to 1 for each question) get Newcombe's hybrid score interval for paired differences:
method 10 of "Improved confidence intervals for the difference between binomial proportions based
on paired data" (1998). Where several texts of a question make its values lie between 0 and 1, the
question counts in parts in the four cells of the table: no coupling of two such shares varies more,
so that the interval is rather too wide. It never leaves out 0 where McNemar's exact test does not
reject "no change": 4 of 40 lost and none won is not sure (p = 0.125), 40 of 40 is.

Other measures get Student's t interval of the differences, with a floor from the measure's
resolution (``workbench.stats.intervals.within_errors``).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from workbench.stats.clustered import MIN_RATERS
from workbench.stats.intervals import LEVEL, Array, Estimate, mean, share, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSample:
    """A measure of the same questions before and after; what its change comes to at any level."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    """As long as ``before``."""
    is_share: bool
    resolution: float = 0.0
    """The least difference of one question that counts; of shares it is not asked."""

    def interval(self, level: float = LEVEL) -> Estimate:
        """Return the mean change with its interval; without ends where there is one question."""
        before, after = np.array(self.before), np.array(self.after)
        if not self.is_share:
            return mean(after - before, resolution=self.resolution, level=level)
        value = float((after - before).mean())
        if len(before) < 2:
            return Estimate(value)
        return Estimate(value, *share_change(*self._cells(), level))

    def reach(self, n: int, level: float) -> float:
        """Return how far down ``n`` questions would reach if nothing changed on average.

        What these questions tell of how often they differ is taken for true, half a question added.
        """
        if not self.is_share:
            return float(
                special.stdtrit(n - 1, (1 + level) / 2) * self.deviation / np.sqrt(n)
                if n > 1
                else np.inf
            )
        discordant = self.deviation**2 / 2
        middle = float(np.mean(self.before + self.after))
        both = min(max(middle - discordant, 0.0), 1 - 2 * discordant)
        neither = max(0.0, 1 - both - 2 * discordant)
        return -share_change(both * n, discordant * n, discordant * n, neither * n, level)[0]

    @property
    def deviation(self) -> float:
        """Standard deviation of a question's change, if nothing changed on average."""
        if self.is_share:
            _, won, lost, _ = self._cells()
            return float(np.sqrt((won + lost + 0.5) / (len(self.before) + 1)))
        changes = np.array(self.after) - np.array(self.before)
        deviation = float(changes.std(ddof=1)) if len(changes) > 1 else np.inf
        return max(deviation, self.resolution / float(np.sqrt(12)))

    def _cells(self) -> tuple[float, float, float, float]:
        before, after = np.array(self.before), np.array(self.after)
        both = float(np.minimum(before, after).sum())
        won = float(np.maximum(after - before, 0).sum())
        lost = float(np.maximum(before - after, 0).sum())
        return both, won, lost, max(0.0, len(before) - both - won - lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsSample:
    """Points of one model against another, judgement by judgement; questions count alike."""

    question: tuple[int, ...]
    """Of each judgement, from 0."""
    rater: tuple[int, ...]
    points: tuple[float, ...]
    """1, ½ or 0."""

    def interval(self, level: float = LEVEL) -> Estimate:
        """Return the share of points with its interval."""
        question, points = np.array(self.question), np.array(self.points)
        n_judged = np.bincount(question)
        n = len(n_judged)
        found = share(np.bincount(question, weights=points) / n_judged, np.ones(n), level)
        n_raters = len(set(self.rater))
        if n_raters < MIN_RATERS or found.low is None or found.high is None:
            return found
        part = (points - found.value) / (n_judged[question] * n)
        error = np.sqrt(_clustered_variance(part, question, np.array(self.rater)))
        reach = stats.t.ppf((1 + level) / 2, min(n, n_raters) - 1) * error
        low = max(0.0, min(found.low, found.value - reach))
        return Estimate(found.value, low, min(1.0, max(found.high, found.value + reach)))

    def reach(self, n: int, level: float) -> float:
        """Return how far down the share of ``n`` questions would reach if neither was better."""
        return 0.5 - wilson(0.5, n, level)[0]

    @property
    def deviation(self) -> float:
        """Standard deviation of a question's points; at most ½."""
        question = np.array(self.question)
        means = np.bincount(question, weights=np.array(self.points)) / np.bincount(question)
        return float(means.std(ddof=1)) if len(means) > 1 else 0.5


def share_change(
    both: float, won: float, lost: float, neither: float, level: float = LEVEL
) -> tuple[float, float]:
    """Return both ends of the interval of a paired change of a share.

    Args:
        both: Questions that count before and after; parts of questions are allowed.
        won: Those that count after, and did not before.
        lost: Those that counted before only.
        neither: The rest.
        level: Share of repetitions that are to hold the truth.
    """
    low, high = newcombe(both, won, lost, neither, level)
    low, high = max(-1.0, low), min(1.0, high)
    if mcnemar(won, lost) > 1 - level:
        return min(low, 0.0), max(high, 0.0)
    return low, high


def newcombe(
    both: float, won: float, lost: float, neither: float, level: float = LEVEL
) -> tuple[float, float]:
    """Return Newcombe's interval (1998, method 10); arguments as of ``share_change``."""
    n = both + won + lost + neither
    after, before = (both + won) / n, (both + lost) / n
    after_low, after_high = wilson(after, n, level)
    before_low, before_high = wilson(before, n, level)
    phi = _correlation(both, won, lost, neither)
    change = after - before
    return (
        change - _hypotenuse(after - after_low, before_high - before, phi),
        change + _hypotenuse(before - before_low, after_high - after, phi),
    )


def mcnemar(won: float, lost: float) -> float:
    """Return the exact p of McNemar's test, two-sided; parts of questions are interpolated."""
    n, fewer = won + lost, min(won, lost)
    if n - fewer < 1e-9:
        return 1.0
    return float(min(1.0, 2 * special.betainc(n - fewer, fewer + 1, 0.5)))


def _correlation(both: float, won: float, lost: float, neither: float) -> float:
    """Return the correlation of the two shares, with continuity correction where it is above 0."""
    margins = (both + won) * (lost + neither) * (both + lost) * (won + neither)
    if margins < 1e-9:
        return 0.0
    product = both * neither - won * lost
    if product > 0:
        product = max(product - (both + won + lost + neither) / 2, 0.0)
    return product / float(np.sqrt(margins))


def _hypotenuse(one: float, other: float, phi: float) -> float:
    return float(np.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2)))


def _clustered_variance(part: Array, question: Array, rater: Array) -> float:
    """Return the variance of the sum of ``part`` over other questions and raters.

    It is never less than over either of the two alone.
    """
    cell = pd.factorize(question * (int(rater.max()) + 1) + rater)[0]
    of_question, of_rater, of_cell = (_variance(part, one) for one in (question, rater, cell))
    return max(of_question, of_rater, of_question + of_rater - of_cell)


def _variance(part: Array, cluster: Array) -> float:
    sums = np.bincount(cluster, weights=part)
    return float((sums**2).sum() * len(sums) / max(1, len(sums) - 1))
