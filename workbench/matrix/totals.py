"""Totals of columns: accuracy and ratings with intervals over questions; of two, their change."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from db.texts.design import LevelSums
from workbench.matrix.columns import Column, Design
from workbench.stats.intervals import Estimate, share
from workbench.stats.samples import PairedSample


@dataclass(slots=True)
class Tally:
    """What a column has of one question."""

    n: int = 0
    n_graded: int = 0
    n_correct: int = 0
    n_rated: int = 0
    score: float = 0.0


Tallies = dict[Column, dict[int, Tally]]
"""Column → question → what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """One column over all questions that are shown."""

    n: int
    n_questions: int
    n_graded: int
    accuracy: Estimate | None
    n_rated: int
    score: Estimate | None
    """What people said, 0 to 1."""


def tally(
    design: Design, sums: Iterable[LevelSums], shown: Collection[int] | None = None
) -> Tallies:
    """Add up what there is in each column, of the questions that are ``shown`` (None: all)."""
    found: defaultdict[Column, defaultdict[int, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for one in sums:
        column = design.column_of(one.level)
        if column is None or (shown is not None and one.question_id not in shown):
            continue
        own = found[column][one.question_id]
        own.n += one.n
        own.n_graded += one.n_graded
        own.n_correct += one.n_correct
        own.n_rated += one.n_rated
        own.score += one.score
    return {column: dict(by_question) for column, by_question in found.items()}


def totals(tallies: Tallies, columns: Sequence[Column]) -> list[Total]:
    """Return the totals of ``columns``, in their order."""
    return [_total(list(tallies.get(column, {}).values())) for column in columns]


def _total(own: Sequence[Tally]) -> Total:
    graded = [one for one in own if one.n_graded]
    rated = [one for one in own if one.n_rated]
    return Total(
        n=sum(one.n for one in own),
        n_questions=len(own),
        n_graded=sum(one.n_graded for one in graded),
        accuracy=_share([(one.n_correct, one.n_graded) for one in graded]),
        n_rated=sum(one.n_rated for one in rated),
        score=_share([(one.score, one.n_rated) for one in rated]),
    )


def _share(parts: Sequence[tuple[float, int]]) -> Estimate | None:
    if not parts:
        return None
    hits, counts = np.array(parts, dtype=float).T
    return share(hits, counts)


def accuracy_change(tallies: Tallies, before: Column, after: Column) -> Estimate | None:
    """Return how much more often ``after`` is correct, paired question by question.

    None where no question is graded in both.
    """
    first, other = tallies.get(before, {}), tallies.get(after, {})
    both = sorted(
        id for id in first.keys() & other.keys() if first[id].n_graded and other[id].n_graded
    )
    if not both:
        return None
    sample = PairedSample(
        before=tuple(first[id].n_correct / first[id].n_graded for id in both),
        after=tuple(other[id].n_correct / other[id].n_graded for id in both),
        is_share=True,
    )
    return sample.interval()
