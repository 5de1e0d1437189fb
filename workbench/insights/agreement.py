"""Agreement between raters and with oneself: Krippendorff's alpha with an interval.

Alpha is 1 where all agree and 0 where they agree as chance would have it (Krippendorff, "Computing
Krippendorff's Alpha-Reliability", 2011; computed by evalica). Its customary bootstrap draws pairs
of values and gives intervals that are too narrow (Hughes, "Toward improved inference for
Krippendorff's Alpha agreement coefficient", 2022); here questions are drawn instead, and alpha is
computed anew from the coincidences of each draw. Of enough raters each is left out in turn as well
(``workbench.stats.clustered``).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import evalica
import numpy as np
import pandas as pd
from scipy import special

from workbench.stats.clustered import MIN_RATERS, RaterChanges, reaches, widened
from workbench.stats.intervals import (
    LEVEL,
    Array,
    Estimate,
    draw_weights,
    intervals,
    jackknife_errors,
    share,
    unseen,
)

Distance = Literal["nominal", "ordinal", "interval"]
MAX_ALPHA = 0.999
"""Full agreement would be infinite on Fisher's scale."""
_SIDES = {"a": "b", "b": "a"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far judgements of the same thing agree."""

    axis: str
    """An axis, or ``preference``."""
    alpha: Estimate | None
    """None where all judgements are the same: there is nothing to tell apart."""
    same: Estimate
    """Share of pairs of judgements that are exactly the same."""
    n_units: int
    """Things that were judged twice or more."""
    n_questions: int
    n_raters: int
    """With fewer than five, the intervals are of these raters, and say nothing of others."""


def agreement(units: pd.DataFrame, axis: str, distance: Distance) -> Agreement | None:
    """Return the agreement of the observers; None where nothing was judged twice.

    Args:
        units: Columns ``unit``, ``observer``, ``rater_id``, ``question_id`` and ``value``; one row
            for each. Observers are raters, or the times at which one rater judged.
        axis: What the values are on.
        distance: How far two values are apart; numbers are needed for all but ``nominal``.
    """
    times = units.groupby("unit")["value"].transform("size")
    units = units[times > 1]
    if units.empty:
        return None
    coded, levels = pd.factorize(units["value"], sort=True)
    numbers = np.arange(len(levels)) if distance == "nominal" else np.asarray(levels, float)
    by_question, without = _coincidences(units, coded, len(levels))
    figures = partial(_figures, values=numbers, distance=distance)
    raters = _rater_changes(by_question, without, figures)
    alpha = None
    if len(levels) > 1:
        frame = units.assign(value=coded if distance == "nominal" else units["value"])
        matrix = frame.pivot(index="observer", columns="unit", values="value")
        value = float(evalica.alpha(matrix, distance).alpha)
        draws = figures(np.tensordot(draw_weights(len(by_question)), by_question, axes=1))
        alpha = _alpha_with_interval(value, draws[:, :1], by_question, raters)
    return Agreement(
        axis=axis,
        alpha=alpha,
        same=_share_of_same(by_question, raters),
        n_units=units["unit"].nunique(),
        n_questions=len(by_question),
        n_raters=units["rater_id"].nunique(),
    )


def _coincidences(
    units: pd.DataFrame, coded: Array, n_levels: int
) -> tuple[Array, Iterator[Array]]:
    """Return coincidences by question, and the same without each rater where there are enough."""
    question, questions = pd.factorize(units["question_id"], sort=True)
    unit, rater = units["unit"].to_numpy(), units["rater_id"].to_numpy()
    raters = np.unique(rater)

    def of(rows: Array) -> Array:
        return coincidences(unit[rows], question[rows], coded[rows], n_levels, len(questions))

    every = of(np.ones(len(units), dtype=bool))
    return every, (of(rater != one) for one in raters if len(raters) >= MIN_RATERS)


def _figures(coincidence: Array, values: Array, distance: Distance) -> Array:
    """Return alpha on Fisher's scale and the share of equal judgements: shape (n, 2)."""
    matched, n = coincidence.diagonal(axis1=1, axis2=2).sum(axis=1), coincidence.sum(axis=(1, 2))
    same = np.divide(matched, n, out=np.full(len(n), np.nan), where=n > 0)
    return np.column_stack([_straightened(alphas(coincidence, values, distance)), same])


def _rater_changes(
    by_question: Array, without: Iterable[Array], figures: Callable[[Array], Array]
) -> RaterChanges | None:
    """Return what leaving out each rater, and each under each question, changes of figures."""
    total = by_question.sum(axis=0)
    now = figures(total[None])
    by_rater, by_both = [], []
    for rest in without:
        by_rater.append(figures(rest.sum(axis=0)[None]) - now)
        is_asked = (rest != by_question).any(axis=(1, 2))
        by_both.append(figures(total + rest[is_asked] - by_question[is_asked]) - now)
    if not by_rater:
        return None
    changes = [np.nan_to_num(np.concatenate(some)) for some in (by_rater, by_both)]
    return RaterChanges(by_rater=changes[0], by_both=changes[1])


def _alpha_with_interval(
    value: float, draws: Array, by_question: Array, raters: RaterChanges | None
) -> Estimate:
    """Return alpha with its interval, on Fisher's scale where questions differ.

    Where none do (full agreement, say), a share ``unseen`` of all others may still be questions of
    which raters say different things, as different as any two that differ.
    """
    n = len(by_question)
    middle = _straightened(np.array([value]))
    _, high = intervals(middle, draws, n)
    reach = float((high - middle)[0])
    if n < 2:
        return Estimate(value)
    if np.isnan(reach):
        total = by_question.sum(axis=0)
        by_chance = 1 - float(((total.sum(axis=0) / total.sum()) ** 2).sum())
        floor = unseen(n) / by_chance
        return Estimate(value, max(-1.0, value - floor), min(1.0, value + floor))
    if raters is not None:
        error = np.full(1, reach / special.stdtrit(n - 1, (1 + LEVEL) / 2))
        reach = max(reach, float(reaches(error, n, raters.through(np.array([[1.0, 0.0]])))[0]))
    low, high = np.tanh(middle - reach), np.tanh(middle + reach)
    return Estimate(value, float(low[0]), max(value, float(high[0])))


def _share_of_same(by_question: Array, raters: RaterChanges | None) -> Estimate:
    """Return how many pairs of judgements are exactly the same, with its interval."""
    matched, n = by_question.diagonal(axis1=1, axis2=2).sum(axis=1), by_question.sum(axis=(1, 2))
    found = share(matched, n)
    if raters is None:
        return found
    errors = jackknife_errors(((matched - found.value * n) / n.sum())[:, None])
    return widened(found, errors, len(n), raters.through(np.array([[0.0, 1.0]])))


def coincidences(
    unit: Array, question: Array, coded: Array, n_levels: int, n_questions: int
) -> Array:
    """Return how often values coincide in a unit, summed by question.

    Returns:
        Shape (questions, levels, levels): Krippendorff's coincidence matrices, before their sum.
    """
    units, place = np.unique(unit, return_inverse=True)
    counts = np.zeros((len(units), n_levels))
    np.add.at(counts, (place, coded), 1.0)
    asked = np.zeros(len(units), dtype=int)
    asked[place] = question
    others = np.maximum(counts.sum(axis=1) - 1, 1)  # one value alone has no pairs
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, np.arange(n_levels), np.arange(n_levels)] -= counts
    by_question = np.zeros((n_questions, n_levels, n_levels))
    np.add.at(by_question, asked, pairs / others[:, None, None])
    return by_question


def alphas(coincidence: Array, values: Array, distance: Distance) -> Array:
    """Return alpha of each coincidence matrix, NaN where no disagreement is possible.

    Args:
        coincidence: Shape (draws, levels, levels).
        values: What the levels stand for, ascending.
        distance: How far two values are apart.
    """
    n_each = coincidence.sum(axis=2)
    total = n_each.sum(axis=1)
    if distance == "nominal":
        distances = np.broadcast_to(1.0 - np.eye(len(values)), coincidence.shape)
    else:
        place = n_each.cumsum(axis=1) - n_each / 2 if distance == "ordinal" else values[None, :]
        distances = np.broadcast_to((place[:, :, None] - place[:, None, :]) ** 2, coincidence.shape)
    observed = (coincidence * distances).sum(axis=(1, 2))
    expected = (n_each[:, :, None] * n_each[:, None, :] * distances).sum(axis=(1, 2)) / (total - 1)
    ratio = np.full(len(total), np.nan)
    np.divide(observed, expected, out=ratio, where=expected > 0)
    return np.asarray(1 - ratio)


def _straightened(alpha: Array) -> Array:
    """Return Fisher's transformation: near 1 alpha can only fall, and its interval leans down.

    Without it intervals of few questions hold the truth in 92 of 100 cases; see the tests.
    """
    return np.asarray(np.arctanh(np.clip(alpha, -MAX_ALPHA, MAX_ALPHA)))


def between_raters(pairs: pd.DataFrame) -> Agreement | None:
    """Return the agreement of raters on comparisons; hidden repeats are left out.

    Which text of a comparison is called first means nothing, but could go with what raters prefer
    (the older text, say), and alpha would count that as agreement by chance. So half of the
    comparisons, the same ones each time, are turned round.
    """
    table = pairs[~pairs["is_repeat"]].drop_duplicates(["rater_id", "a", "b"])
    named = pd.util.hash_pandas_object(table[["a", "b"]], index=False).to_numpy()
    outcome = table["outcome"].where(named % 2 == 0, table["outcome"].replace(_SIDES))
    units = pd.DataFrame(
        {
            "unit": pd.factorize(pd.MultiIndex.from_frame(table[["a", "b"]]))[0],
            "observer": table["rater_id"],
            "rater_id": table["rater_id"],
            "question_id": table["question_id"],
            "value": outcome,
        }
    )
    return agreement(units, "preference", "nominal")


def with_oneself(pairs: pd.DataFrame) -> Agreement | None:
    """Return how far raters said the same of a card and of its hidden repeat."""
    repeats = pairs[pairs["is_repeat"]]
    originals = pairs[~pairs["is_repeat"]]
    both = repeats.merge(
        originals[["rater_id", "item_id", "outcome"]],
        left_on=["rater_id", "repeat_of_id"],
        right_on=["rater_id", "item_id"],
        suffixes=("", "_first"),
    )
    if both.empty:
        return None
    named = pd.util.hash_pandas_object(both[["a", "b"]], index=False).to_numpy() % 2 == 0
    parts = [
        pd.DataFrame(
            {
                "unit": np.arange(len(both)),
                "observer": observer,
                "rater_id": both["rater_id"],
                "question_id": both["question_id"],
                "value": both[column].where(named, both[column].replace(_SIDES)),
            }
        )
        for observer, column in enumerate(("outcome_first", "outcome"))
    ]
    return agreement(pd.concat(parts), "preference", "nominal")


def on_axis(values: pd.DataFrame, axis: str) -> Agreement | None:
    """Return the agreement of raters on the values of one axis, as ranks."""
    table = values[values["axis"] == axis].drop_duplicates(["rater_id", "text_id"], keep="last")
    units = table.rename(columns={"text_id": "unit"}).assign(observer=table["rater_id"])
    columns = ["unit", "observer", "rater_id", "question_id", "value"]
    return agreement(units[columns], axis, "ordinal")
