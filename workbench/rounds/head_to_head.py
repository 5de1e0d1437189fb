"""Blind comparisons of the models of a round: won, tied and lost, with intervals.

Only what both models wrote in one pass for the same question counts, judged blind and as a whole.
People and model raters are told apart and never added up. "Both bad" says nothing about which of
the two is better, so it is counted beside the others.

Other questions could have been asked and other raters could have judged. With at least
``ENOUGH_RATERS`` both are sources of chance (two-way clustered errors; Cameron, Gelbach and Miller,
"Robust Inference with Multiway Clustering", 2011). Fewer tell nothing of other raters: intervals
are over questions then, for these raters, and ``by_rater`` shows each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats
from sqlalchemy.orm import Session

from db.rating.columns import RaterKind, RatingFilter, read_origins, read_ratings, read_samplings
from workbench.statistics.comparisons import comparison_table, origins_table
from workbench.statistics.intervals import LEVEL, Array, Estimate, share, wilson

RATERS: tuple[RaterKind, ...] = ("person", "model")
ENOUGH_RATERS = 5
"""Fewer stand for nobody but themselves."""


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
        if n_raters < ENOUGH_RATERS or found.low is None or found.high is None:
            return found
        part = (points - found.value) / (n_judged[question] * n)
        error = np.sqrt(_two_way_variance(part, question, np.array(self.rater)))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """How one model did against another in the eyes of people, or of model raters."""

    model: str
    against: str
    raters: RaterKind
    n_raters: int
    n_questions: int
    n_judgements: int
    """Decided ones and ties; one for each rater and card."""
    won: Estimate
    tied: Estimate
    lost: Estimate
    points: Estimate
    """Share of points, a tie half a point for either; 0.5: neither is better."""
    both_bad: int
    """Judgements that found neither good; not among the others."""
    by_rater: tuple[Estimate, ...] = ()
    """Share of points in the eyes of each rater, where there are several but not enough of them."""
    sample: PointsSample = field(repr=False)
    """What it is of, for intervals at other levels."""

    @property
    def is_for_these_raters(self) -> bool:
        """Whether too few judged for it to tell of other raters."""
        return self.n_raters < ENOUGH_RATERS

    @property
    def is_better(self) -> bool | None:
        """Whether ``model`` is surely better (or worse); None where the interval holds ½."""
        low, high = self.points.low, self.points.high
        if low is None or high is None or low <= 0.5 <= high:
            return None
        return low > 0.5


def read_duels(session: Session, sweep_id: int, order: Sequence[str]) -> tuple[Duel, ...]:
    """Return all comparisons that there are, those of people first.

    Args:
        session: Of the store.
        sweep_id: The one-pass sweep of a round.
        order: Names of its models, the one to compare with first; of two, the later one is
            ``model``.
    """
    return tuple(
        duel for raters in RATERS for duel in _of_raters(session, sweep_id, list(order), raters)
    )


def _of_raters(session: Session, sweep_id: int, order: list[str], raters: RaterKind) -> list[Duel]:
    filter = RatingFilter(scope="whole", raters=raters, sweep_id=sweep_id)
    judgements = pd.DataFrame(read_ratings(session, filter))
    if judgements.empty:
        return []
    origins = origins_table(read_origins(session, filter), read_samplings(session))
    pairs = comparison_table(judgements, origins, "whole")
    pairs = pairs[
        pairs["ranks"]
        & pairs["model_a"].isin(order)
        & pairs["model_b"].isin(order)
        & (pairs["model_a"] != pairs["model_b"])
    ]
    place = {name: i for i, name in enumerate(order)}
    turned = pairs["model_a"].map(place) < pairs["model_b"].map(place)
    pairs = pairs.assign(
        model=np.where(turned, pairs["model_b"], pairs["model_a"]),
        against=np.where(turned, pairs["model_a"], pairs["model_b"]),
        points=np.where(turned, 1.0 - pairs["points"], pairs["points"]),
    )
    return [
        found
        for (model, against), own in pairs.groupby(["model", "against"])
        if (found := _duel(str(model), str(against), raters, own)) is not None
    ]


def _duel(model: str, against: str, raters: RaterKind, own: pd.DataFrame) -> Duel | None:
    """Return one duel; None where all that was said is that both are bad."""
    told = own[own["points"].notna()]
    if told.empty:
        return None
    question, questions = pd.factorize(told["question_id"])
    rater, _ = pd.factorize(told["rater_id"])
    points = told["points"].to_numpy(dtype=float)
    sample = PointsSample(
        question=tuple(map(int, question)),
        rater=tuple(map(int, rater)),
        points=tuple(map(float, points)),
    )
    n_judged = np.bincount(question)

    def shared(hits: Array) -> Estimate:
        """Questions count alike: ten judgements of one of them are no ten questions."""
        return share(np.bincount(question, weights=hits) / n_judged, np.ones(len(questions)))

    return Duel(
        model=model,
        against=against,
        raters=raters,
        n_raters=int(rater.max()) + 1,
        n_questions=len(questions),
        n_judgements=len(told),
        won=shared(points == 1.0),
        tied=shared(points == 0.5),
        lost=shared(points == 0.0),
        points=sample.interval(),
        both_bad=int(own["points"].isna().sum()),
        by_rater=_by_rater(question, rater, points),
        sample=sample,
    )


def _by_rater(question: Array, rater: Array, points: Array) -> tuple[Estimate, ...]:
    n = int(rater.max()) + 1
    if not 1 < n < ENOUGH_RATERS:
        return ()
    return tuple(
        PointsSample(
            question=tuple(pd.factorize(question[rater == one])[0]),
            rater=(one,) * int((rater == one).sum()),
            points=tuple(points[rater == one]),
        ).interval()
        for one in range(n)
    )


def _two_way_variance(part: Array, question: Array, rater: Array) -> float:
    """Return the variance of the sum of ``part`` over other questions and raters.

    It is never less than over either of the two alone.
    """
    cell = pd.factorize(question * (int(rater.max()) + 1) + rater)[0]
    of_question, of_rater, of_cell = (_variance(part, one) for one in (question, rater, cell))
    return max(of_question, of_rater, of_question + of_rater - of_cell)


def _variance(part: Array, cluster: Array) -> float:
    sums = np.bincount(cluster, weights=part)
    return float((sums**2).sum() * len(sums) / max(1, len(sums) - 1))
