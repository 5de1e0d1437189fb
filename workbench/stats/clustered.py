"""Errors of figures that rest on chance in two ways: which questions were asked, and who rated.

Errors by questions and by raters add up, less what both count: the error by single judgements of
a rater under a question (Cameron, Gelbach and Miller, "Robust Inference with Multiway Clustering",
2011). With fewer than ``MIN_RATERS`` raters nothing can be told of others: figures are then of
these raters, and only questions count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from workbench.stats.intervals import LEVEL, Array, Estimate, jackknife_errors, share

MIN_RATERS = 5
MOST_QUESTIONS = 400
"""That single raters are looked at by: their figures stand beside pooled ones, to be compared."""


def raters_of(table: pd.DataFrame) -> list[int]:
    """Return the ids of those who made the judgements."""
    return sorted(table["rater_id"].unique()) if "rater_id" in table else []


def judgements_by_rater(table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the judgements of each rater, where there are two or more and too few for any.

    Of very many questions it is those of an even part, which bounds the time that they take.
    """
    raters = raters_of(table)
    if 1 < len(raters) < MIN_RATERS:
        asked = np.unique(table["question_id"])
        if len(asked) > MOST_QUESTIONS:
            table = table[table["question_id"].isin(asked[:: -(-len(asked) // MOST_QUESTIONS)])]
        for rater in raters:
            yield int(rater), table[table["rater_id"] == rater]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterChanges:
    """What leaving out each rater changes, and each rater under each question."""

    by_rater: Array
    """(raters, n)"""
    by_both: Array
    """(raters that judged under a question, n)"""

    @classmethod
    def of(cls, slopes: Array, rater: Array, weights: Array) -> "RaterChanges | None":
        """Return them for a figure to which each judgement adds a part; None of few raters.

        Args:
            slopes: Shape (cells, n), of cells of one rater under one question: what they add.
            rater: Shape (cells,): whose they are.
            weights: Shape (cells,): how many judgements stand in each.
        """
        _, place = np.unique(rater, return_inverse=True)
        n_raters = int(place.max()) + 1
        if n_raters < MIN_RATERS:
            return None
        shares = weights / weights.sum()
        # All judgements made heavier alike: that says nothing of single ones.
        slopes = slopes - shares[:, None] * slopes.sum(axis=0)
        by_rater = np.zeros((n_raters, slopes.shape[1]))
        np.add.at(by_rater, place, slopes)
        left = 1 - np.minimum(np.bincount(place, shares), 0.5)
        return cls(by_rater=-by_rater / left[:, None], by_both=-slopes)

    def through(self, slopes: Array) -> "RaterChanges":
        """Return the changes of what follows from the figures by ``slopes``, shape (any, n)."""
        return RaterChanges(by_rater=self.by_rater @ slopes.T, by_both=self.by_both @ slopes.T)

    def variances(self) -> tuple[Array, Array]:
        """Return the variances by raters, and by raters under questions; each of shape (n,)."""
        return jackknife_errors(self.by_rater) ** 2, (self.by_both**2).sum(axis=0)


def judged_share(table: pd.DataFrame) -> Estimate:
    """Return the share of judgements that hit, with its interval over questions and raters.

    It is never narrower than over questions alone, which it is for fewer than ``MIN_RATERS``.

    Args:
        table: Columns ``question_id``, ``rater_id`` and ``hit`` (0 or 1); at least one row.
    """
    cells = table.groupby(["question_id", "rater_id"])["hit"].agg(["sum", "size"]).astype(float)
    by_question = cells.groupby("question_id").sum()
    found = share(by_question["sum"].to_numpy(), by_question["size"].to_numpy())
    added = (cells["sum"] - found.value * cells["size"]) / len(table)
    raters = cells.index.get_level_values("rater_id").to_numpy()
    changes = RaterChanges.of(added.to_numpy()[:, None], raters, cells["size"].to_numpy())
    if changes is None:
        return found
    errors = jackknife_errors(added.groupby("question_id").sum().to_numpy()[:, None])
    return widened(found, errors, len(by_question), changes)


def widened(found: Estimate, errors: Array, n_questions: int, raters: RaterChanges) -> Estimate:
    """Return a share with its interval over questions made as wide as raters ask for.

    Args:
        found: The share, with its interval over questions.
        errors: Its standard error by questions, shape (1,).
        n_questions: How many questions there are.
        raters: What leaving them out changes of the share.
    """
    if found.low is None or found.high is None:
        return found
    reach = float(reaches(errors, n_questions, raters)[0])
    low = max(0.0, min(found.low, found.value - reach))
    return Estimate(found.value, low, min(1.0, max(found.high, found.value + reach)))


def reaches(errors: Array, n_questions: int, raters: RaterChanges | None) -> Array:
    """Return how far intervals reach to both sides, shape (n,).

    Args:
        errors: Standard errors by questions.
        n_questions: How many questions there are; two or more.
        raters: Changes of the same figures; None: the figures are of these raters.
    """
    if raters is None:
        return np.asarray(stats.t.ppf((1 + LEVEL) / 2, n_questions - 1) * errors)
    by_rater, by_both = raters.variances()
    variance = np.maximum(errors**2 + np.maximum(by_rater - by_both, 0), by_rater)
    of_questions = np.maximum(variance - by_rater, 0)
    n_raters = len(raters.by_rater)
    parts = by_rater**2 / (n_raters - 1) + of_questions**2 / (n_questions - 1)
    # Degrees of freedom after Satterthwaite.
    freedom = np.divide(variance**2, parts, out=np.ones(len(errors)), where=parts > 0)
    return np.asarray(stats.t.ppf((1 + LEVEL) / 2, np.maximum(freedom, 1)) * np.sqrt(variance))


MIN_POINTS, MIN_SHARE = 10.0, 0.12
"""A level that won, or lost, fewer points than that and a smaller share is nearly separated."""
TINY = 1e-9


def nearly_separated(won: Array, lost: Array) -> Array:
    """Return which levels won or lost (next to) everything, given their points."""
    fewer = np.minimum(won, lost)
    return np.asarray((fewer < MIN_POINTS) & (fewer < MIN_SHARE * (won + lost)))


@dataclass(frozen=True, slots=True)
class Separation:
    """Which of the leads that are shown need exact intervals; arrays of shape (n,)."""

    sparse: Array
    """Where (next to) all comparisons say the same."""
    scale: Array
    """Makes a lead over the mean one over all others, of which a share of points is known."""
    met: Array
    """Comparisons that tell of it; they count no more than they are."""

    def exact_ends(self, leads: Array, variances: Array, imagined: float) -> tuple[Array, Array]:
        """Return both ends of intervals of the sparse leads; infinite where all say the same.

        Args:
            leads: On the scale of log odds; the sparse ones only, as all that is given here.
            variances: Of the leads, if comparisons were independent; imagined ones included.
            imagined: Points that either side has from imagined ties, taken off again.
        """
        scale = self.scale[self.sparse]
        chance = expit(leads * scale)
        effective = 1 / (variances * scale**2 * chance * (1 - chance))
        effective = np.minimum(effective, self.met[self.sparse] + 2 * imagined)
        won, lost = effective * chance - imagined, effective * (1 - chance) - imagined
        # Less than half a point is what imagined ties leave, and none that was seen.
        won, lost = (np.where(points < 0.25, 0.0, points) for points in (won, lost))
        tail = (1 - LEVEL) / 2
        low = np.where(won > 0, stats.beta.ppf(tail, np.maximum(won, TINY), lost + 1), 0.0)
        high = np.where(lost > 0, stats.beta.isf(tail, won + 1, np.maximum(lost, TINY)), 1.0)
        with np.errstate(divide="ignore"):
            return logit(low) / scale, logit(high) / scale
