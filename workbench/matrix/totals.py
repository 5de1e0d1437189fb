"""Totals of columns: accuracy and ratings with intervals over questions; of two, their change."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from db.texts.design import Level, LevelSums
from workbench.matrix.columns import Column, Design
from workbench.stats.intervals import Array, Estimate, share
from workbench.stats.samples import PairedSample

_SUMMED = ("n", "n_graded", "n_correct", "n_rated", "score")


@dataclass(frozen=True, slots=True, eq=False)
class CountedLevels:
    """What there is of each level under each question, as columns of equal length."""

    levels: tuple[Level, ...]
    level: Array
    """Place of the level of each row among ``levels``."""
    question: Array
    """Id of the question of each row."""
    sums: dict[str, Array]
    """``n``, ``n_graded``, ``n_correct``, ``n_rated`` and ``score``, as in ``LevelSums``."""
    mark: tuple[int, ...] = ()
    """Of the store when it was counted (``workbench.matrix.rows.matrix_mark``)."""

    @classmethod
    def of(cls, rows: Sequence[LevelSums], mark: tuple[int, ...] = ()) -> "CountedLevels":
        """Return the columns of ``rows``."""
        levels = tuple(dict.fromkeys(one.level for one in rows))
        places = {level: place for place, level in enumerate(levels)}
        return cls(
            levels,
            np.array([places[one.level] for one in rows], dtype=int),
            np.array([one.question_id for one in rows], dtype=int),
            {name: np.array([getattr(one, name) for one in rows], float) for name in _SUMMED},
            mark,
        )

    def of_column(
        self, design: Design, column: Column, shown: Array | None
    ) -> tuple[Array, dict[str, Array]]:
        """Return the questions of a column, and what it has of each, added up.

        Args:
            design: Tells which column a level belongs to.
            column: The column.
            shown: Only these questions, sorted; None: all.
        """
        own = np.array([design.column_of(level) == column for level in self.levels], dtype=bool)
        rows = own[self.level] if len(self.level) else np.zeros(0, dtype=bool)
        if shown is not None:
            rows &= np.isin(self.question, shown)
        questions, place = np.unique(self.question[rows], return_inverse=True)
        return questions, {
            name: np.bincount(place, values[rows], len(questions))
            for name, values in self.sums.items()
        }


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


def totals(
    counted: CountedLevels, design: Design, shown: Collection[int] | None = None
) -> list[Total]:
    """Return the totals of all columns, over the questions that are ``shown`` (None: all)."""
    ids = None if shown is None else np.unique(np.array(list(shown), dtype=int))
    return [_total(*counted.of_column(design, one, ids)) for one in design.columns]


def _total(questions: Array, own: dict[str, Array]) -> Total:
    return Total(
        n=int(own["n"].sum()),
        n_questions=len(questions),
        n_graded=int(own["n_graded"].sum()),
        accuracy=_share(own["n_correct"], own["n_graded"]),
        n_rated=int(own["n_rated"].sum()),
        score=_share(own["score"], own["n_rated"]),
    )


def _share(hits: Array, counts: Array) -> Estimate | None:
    known = counts > 0
    return share(hits[known], counts[known]) if known.any() else None


def accuracy_change(
    counted: CountedLevels,
    design: Design,
    before: Column,
    after: Column,
    shown: Collection[int] | None = None,
) -> Estimate | None:
    """Return how much more often ``after`` is correct, paired question by question.

    None where no question is graded in both.
    """
    ids = None if shown is None else np.unique(np.array(list(shown), dtype=int))
    shares = []
    for column in (before, after):
        questions, own = counted.of_column(design, column, ids)
        known = own["n_graded"] > 0
        accuracies = own["n_correct"][known] / own["n_graded"][known]
        shares.append(dict(zip(questions[known].tolist(), accuracies.tolist(), strict=True)))
    both = sorted(shares[0].keys() & shares[1].keys())
    if not both:
        return None
    first, other = (tuple(one[id] for id in both) for one in shares)
    return PairedSample(before=first, after=other, is_share=True).interval()
