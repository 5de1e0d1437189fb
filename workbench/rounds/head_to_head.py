"""Blind comparisons of the models of a round: won, tied and lost, with intervals.

Only what both models wrote in one pass for the same question counts, judged blind and as a whole;
where most had no answer, by their reasonings (``workbench.rating.head_to_head``).
People and model raters are told apart and never added up. "Both bad" says nothing about which of
the two is better, so it is counted beside the others.

Other questions could have been asked and other raters could have judged. With at least
``MIN_RATERS`` both are sources of chance (two-way clustered errors; Cameron, Gelbach and Miller,
"Robust Inference with Multiway Clustering", 2011). Fewer tell nothing of other raters: intervals
are over questions then, for these raters, and ``by_rater`` shows each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sqlalchemy.orm import Session

from db.rating.columns import RaterKind, RatingFilter
from db.rating.ratings import Scope
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.comparisons import read_tables
from workbench.stats.intervals import Array, Estimate, share
from workbench.stats.samples import PointsSample

RATERS: tuple[RaterKind, ...] = ("person", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadToHead:
    """How one model did against another in the eyes of people, or of model raters."""

    model: str
    against: str
    raters: RaterKind
    scope: Scope
    """What was compared: whole outputs, or their reasonings where most had no answer."""
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
        return self.n_raters < MIN_RATERS

    @property
    def is_better(self) -> bool | None:
        """Whether ``model`` is surely better (or worse); None where the interval holds ½."""
        low, high = self.points.low, self.points.high
        if low is None or high is None or low <= 0.5 <= high:
            return None
        return low > 0.5


def read_head_to_head(
    session: Session, sweep_id: int, order: Sequence[str]
) -> tuple[HeadToHead, ...]:
    """Return all comparisons that there are, those of people first.

    Args:
        session: Of the store.
        sweep_id: The one-pass sweep of a round.
        order: Names of its models, the one to compare with first; of two, the later one is
            ``model``.
    """
    return tuple(
        result for raters in RATERS for result in _of_raters(session, sweep_id, list(order), raters)
    )


def _of_raters(
    session: Session, sweep_id: int, order: list[str], raters: RaterKind
) -> list[HeadToHead]:
    scopes: tuple[Scope, ...] = ("whole", "reasoning")
    judged = {
        scope: _between(session, RatingFilter(scope=scope, raters=raters, sweep_id=sweep_id), order)
        for scope in scopes
    }
    scope = max(scopes, key=lambda one: len(judged[one]))
    return _results(judged[scope], order, raters, scope)


def _between(session: Session, filter: RatingFilter, models: list[str]) -> pd.DataFrame:
    """Return the comparisons of one model with another that count."""
    pairs = read_tables(session, filter).comparisons
    if pairs.empty:
        return pairs
    return pairs[
        pairs["ranks"]
        & pairs["model_a"].isin(models)
        & pairs["model_b"].isin(models)
        & (pairs["model_a"] != pairs["model_b"])
    ]


def _results(
    pairs: pd.DataFrame, order: list[str], raters: RaterKind, scope: Scope
) -> list[HeadToHead]:
    """Return what the comparisons of every two models come to."""
    if pairs.empty:
        return []
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
        if (found := _head_to_head(str(model), str(against), raters, scope, own)) is not None
    ]


def _head_to_head(
    model: str, against: str, raters: RaterKind, scope: Scope, own: pd.DataFrame
) -> HeadToHead | None:
    """Return one duel; None where all that was said is that both are bad."""
    decided = own[own["points"].notna()]
    if decided.empty:
        return None
    question, questions = pd.factorize(decided["question_id"])
    rater, _ = pd.factorize(decided["rater_id"])
    points = decided["points"].to_numpy(dtype=float)
    sample = PointsSample(
        question=tuple(map(int, question)),
        rater=tuple(map(int, rater)),
        points=tuple(map(float, points)),
    )
    n_judged = np.bincount(question)

    def shared(hits: Array) -> Estimate:
        """Questions count alike: ten judgements of one of them are no ten questions."""
        return share(np.bincount(question, weights=hits) / n_judged, np.ones(len(questions)))

    return HeadToHead(
        model=model,
        against=against,
        raters=raters,
        scope=scope,
        n_raters=int(rater.max()) + 1,
        n_questions=len(questions),
        n_judgements=len(decided),
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
    if not 1 < n < MIN_RATERS:
        return ()
    return tuple(
        PointsSample(
            question=tuple(pd.factorize(question[rater == one])[0]),
            rater=(one,) * int((rater == one).sum()),
            points=tuple(points[rater == one]),
        ).interval()
        for one in range(n)
    )
