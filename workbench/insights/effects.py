"""Main effects: what a level changes while all other factors are held equal.

Comparisons: Bradley-Terry where the strength of a text varies around the sum of the effects of its
levels (a mixed-effects model; sides are drawn by lot, so that they favour no level). Values on an
axis: a linear model of levels and raters within each question. Either way the effects of a factor
have the mean 0, and intervals resample questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from workbench.stats.clustered import (
    MIN_RATERS,
    RaterChanges,
    Separation,
    judgements_by_rater,
    nearly_separated,
    raters_of,
    reaches,
)
from workbench.stats.comparisons import REASONING_FACTORS, log_lengths
from workbench.stats.intervals import (
    Array,
    Estimate,
    estimate,
    jackknife_errors,
)
from workbench.stats.mixed_effects import expected_points, fit

RIDGE = 0.01
"""Keeps the effects of levels that never met finite; beside dozens of values, nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one level changes against the average level of its factor, all else equal."""

    factor: str
    level: str
    change: Estimate
    """Comparisons: of the share of points, -0.5 to 0.5. Values: in points of the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterEffects:
    """The same by the judgements of one rater alone."""

    rater_id: int
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Main effects on the outcome of comparisons, or on one axis."""

    axis: str
    effects: tuple[Effect, ...]
    entangled: tuple[str, ...]
    """Factors left out: their levels changed together with those of others."""
    n: int
    n_questions: int
    n_raters: int
    """With fewer than five, figures are of these raters, and say nothing of others."""
    by_rater: tuple[RaterEffects, ...]
    """Of two to four raters, each alone."""
    twice_as_long: Estimate | None
    """What a text gains from being twice as long, in the units of the changes; None where the
    effects are not those of texts of equal length."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The levels behind the columns of a design; the first level of a factor has none."""

    factors: dict[str, list[str]]

    @property
    def levels(self) -> list[tuple[str, str]]:
        """Every level with its factor, in the order of ``centred``."""
        return [(factor, level) for factor, levels in self.factors.items() for level in levels]

    @property
    def width(self) -> int:
        return sum(len(levels) - 1 for levels in self.factors.values())

    def of(self, factor: str) -> slice:
        start = 0
        for name, levels in self.factors.items():
            if name == factor:
                return slice(start, start + len(levels) - 1)
            start += len(levels) - 1
        raise KeyError(factor)

    def dummies(self, table: pd.DataFrame, suffix: str = "") -> Array:
        """Return shape (rows, width): 1 where a row has the level of a column.

        Answers without a reasoning have no level of who wrote it: they stand at the average of
        these, so that what they lack is an effect of the mode.
        """
        blocks = []
        for factor, levels in self.factors.items():
            own = table[f"{factor}{suffix}"]
            block = (own.to_numpy()[:, None] == np.array(levels[1:])[None, :]).astype(float)
            block[own.isna().to_numpy()] = 1 / len(levels)
            blocks.append(block)
        return np.hstack(blocks)

    def centred(self, effects: Array) -> Array:
        """Return the effects of all levels, of each factor with the mean 0: (..., levels)."""
        blocks = []
        for factor in self.factors:
            own = effects[..., self.of(factor)]
            own = np.concatenate([np.zeros((*own.shape[:-1], 1)), own], axis=-1)
            blocks.append(own - own.mean(axis=-1, keepdims=True))
        return np.concatenate(blocks, axis=-1)


def comparison_effects(
    pairs: pd.DataFrame, factors: Sequence[str], *, equal_length: bool = False
) -> Effects | None:
    """Return main effects on who is better; None where no compared texts differ in a factor.

    Args:
        pairs: Comparisons that rank; see ``workbench.stats.comparisons``.
        factors: Which of its factors.
        equal_length: Whether to tell them of texts that are equally long.
    """
    pairs, columns = _complete(pairs, factors, ("_a", "_b"))
    if columns is None:
        return None
    design = columns.dummies(pairs, "_a") - columns.dummies(pairs, "_b")
    columns, design, entangled = _untangled(columns, design)
    if columns is None:
        return None
    differ = pairs["question_id"][(design != 0).any(axis=1)]
    pairs = pairs[pairs["question_id"].isin(differ)]
    texts = np.vstack([columns.dummies(pairs, "_a"), columns.dummies(pairs, "_b")])
    levels, level = np.unique(texts, axis=0, return_inverse=True)
    tied = columns.centred(np.eye(columns.width)).T
    lengths = log_lengths(pairs) if equal_length else None
    fitted = fit(pairs, level.reshape(2, -1).T, levels, tied, lengths)
    shown = fitted.shown(
        lambda effects, deviation: logit(expected_points(columns.centred(effects), deviation)),
        _separation(columns, pairs),
    )
    values, low, high = (expit(one) - 0.5 for one in shown)
    return Effects(
        axis="preference",
        effects=_effects(columns, values, low, high),
        entangled=entangled,
        n=len(pairs),
        n_questions=fitted.n_questions,
        n_raters=len(raters_of(pairs)),
        by_rater=tuple(
            RaterEffects(rater_id=rater, effects=own.effects)
            for rater, part in judgements_by_rater(pairs)
            if (own := comparison_effects(part, list(columns.factors), equal_length=equal_length))
        ),
        twice_as_long=_less_half(fitted.twice_as_long()),
    )


def _less_half(share: Estimate | None) -> Estimate | None:
    if share is None or share.low is None or share.high is None:
        return share and Estimate(share.value - 0.5)
    return Estimate(share.value - 0.5, share.low - 0.5, share.high - 0.5)


def value_effects(
    values: pd.DataFrame, axis: str, factors: Sequence[str], *, equal_length: bool = False
) -> Effects | None:
    """Return main effects on the values of ``axis``; None where no texts differ in a factor.

    Args:
        values: Columns ``question_id``, ``rater_id``, ``value``, and one for each factor.
        axis: The axis that the values are on.
        factors: Which columns are factors.
        equal_length: Whether to tell them of texts that are equally long; needs ``characters``.
    """
    values, columns = _complete(values, factors, ("",))
    if columns is None:
        return None
    question, questions = pd.factorize(values["question_id"], sort=True)
    columns, _, entangled = _untangled(columns, _within(columns.dummies(values), question))
    if columns is None:
        return None
    parts = [columns.dummies(values)]
    if equal_length:
        # The first column beside the levels: what being twice as long adds.
        parts.append(np.log2(np.maximum(1.0, values[["characters"]].to_numpy(dtype=float))))
    parts.append(pd.get_dummies(values["rater_id"]).to_numpy(dtype=float)[:, 1:])
    design, given = np.column_stack(parts), values["value"].to_numpy(dtype=float)
    columns_shown = columns.centred(np.eye(design.shape[1])[:, : columns.width]).T
    shown = np.vstack(
        [columns_shown, np.eye(design.shape[1])[columns.width :][: int(equal_length)]]
    )
    # Where questions say exactly the same, another one may well differ by a step of the axis.
    steps = np.diff(np.unique(values["value"]))
    least = (steps.min() if len(steps) else 1.0) / len(questions)
    changes, low, high = _linear(design, given, question, values["rater_id"], shown, least)
    return Effects(
        axis=axis,
        effects=_effects(columns, *(end[: len(columns.levels)] for end in (changes, low, high))),
        entangled=entangled,
        n=len(values),
        n_questions=len(questions),
        n_raters=len(raters_of(values)),
        by_rater=tuple(
            RaterEffects(rater_id=rater, effects=own.effects)
            for rater, part in judgements_by_rater(values)
            if (own := value_effects(part, axis, list(columns.factors), equal_length=equal_length))
        ),
        twice_as_long=estimate(changes[-1], low[-1], high[-1]) if equal_length else None,
    )


def _linear(
    design: Array, given: Array, question: Array, rater: pd.Series, shown: Array, least: float
) -> tuple[Array, Array, Array]:
    """Fit a linear model to values; return what ``shown``, (n, columns), makes of it, with ends.

    Args:
        design: Shape (values, columns).
        given: Shape (values,).
        question: Shape (values,): codes of the questions, each of which has a mean of its own.
        rater: Who said each.
        shown: Shape (n, columns).
        least: The least error that is believed.
    """
    coded, raters = pd.factorize(rater, sort=True)
    within, within_given = _within(design, question), _within(given[:, None], question)[:, 0]
    n, width = int(question.max()) + 1, design.shape[1]
    squares, products = np.zeros((n, width, width)), np.zeros((n, width))
    np.add.at(squares, question, within[:, :, None] * within[:, None, :])
    np.add.at(products, question, within * within_given[:, None])
    left, right = squares.sum(axis=0) + RIDGE * np.eye(width), products.sum(axis=0)
    fitted = np.linalg.solve(left, right)
    values = shown @ fitted
    if n < 2:
        return values, np.full(len(values), np.nan), np.full(len(values), np.nan)
    without = np.linalg.solve(left - squares, (right - products)[:, :, None])[:, :, 0]
    errors = np.maximum(jackknife_errors((without - fitted) @ shown.T), least)
    chance = None
    if len(raters) >= MIN_RATERS:
        scores = within * (within_given - within @ fitted)[:, None]
        by_both = _sums(scores, question * len(raters) + coded) @ np.linalg.inv(left)
        # Means of questions are those of all raters: without one they must be found anew.
        others = (coded != one for one in range(len(raters)))
        alone = [_solved(design[rows], given[rows], question[rows]) for rows in others]
        by_rater = np.array(alone) - fitted
        chance = RaterChanges(by_rater=by_rater, by_both=-by_both).through(shown)
    reach = reaches(errors, n, chance)
    return values, values - reach, values + reach


def _solved(design: Array, given: Array, question: Array) -> Array:
    """Return the coefficients of a linear model with a mean for each question."""
    _, question = np.unique(question, return_inverse=True)
    design, given = _within(design, question), _within(given[:, None], question)[:, 0]
    left = design.T @ design + RIDGE * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(left, design.T @ given))


def _sums(rows: Array, group: Array) -> Array:
    """Return the sums of the rows of each group: shape (groups, columns)."""
    found, place = np.unique(group, return_inverse=True)
    sums = np.zeros((len(found), rows.shape[1]))
    np.add.at(sums, place, rows)
    return sums


def _complete(
    table: pd.DataFrame, factors: Sequence[str], suffixes: Sequence[str]
) -> tuple[pd.DataFrame, _Columns | None]:
    """Return the rows with a level of every factor that has two or more, and those levels."""
    levels_by_factor: dict[str, list[str]] = {}
    for factor in factors:
        sides = [table[f"{factor}{suffix}"] for suffix in suffixes]
        levels = sorted({level for side in sides for level in side.dropna().unique()})
        if len(levels) > 1:
            levels_by_factor[factor] = levels
    for factor in levels_by_factor:
        for suffix in suffixes if factor not in REASONING_FACTORS else ():
            table = table[table[f"{factor}{suffix}"].notna()]
    return table, _Columns(levels_by_factor) if levels_by_factor and len(table) else None


def _untangled(columns: _Columns, design: Array) -> tuple[_Columns | None, Array, tuple[str, ...]]:
    """Leave out the factors whose effects this design cannot tell from those of others."""
    rank = np.linalg.matrix_rank(design)
    entangled = []
    for factor in columns.factors:
        own = columns.of(factor)
        others = np.delete(design, own, axis=1)
        alone = np.linalg.matrix_rank(others) if others.size else 0
        if rank - alone < own.stop - own.start:
            entangled.append(factor)
    levels_by_factor = {
        name: found for name, found in columns.factors.items() if name not in entangled
    }
    places = [
        i for name in levels_by_factor for i in range(columns.of(name).start, columns.of(name).stop)
    ]
    return (
        _Columns(levels_by_factor) if levels_by_factor else None,
        design[:, places],
        tuple(entangled),
    )


def _separation(columns: _Columns, pairs: pd.DataFrame) -> Separation:
    """Return of which effects (next to) all comparisons say the same."""
    won = pairs["points"].to_numpy(dtype=float)
    sparse, scale, met = [], [], []
    for factor, levels in columns.factors.items():
        a, b = (pairs[f"{factor}_{side}"].to_numpy() for side in "ab")
        sides = [((a == one) & (b != one), (b == one) & (a != one)) for one in levels]
        points = np.array([won[a].sum() + (1 - won[b]).sum() for a, b in sides])
        total = np.array([a.sum() + b.sum() for a, b in sides])
        separated = nearly_separated(points, total - points)
        sparse.append(np.full(len(levels), separated.any()))
        scale.append(np.full(len(levels), len(levels) / (len(levels) - 1)))
        met.append(total)
    return Separation(np.concatenate(sparse), np.concatenate(scale), np.concatenate(met))


def _effects(columns: _Columns, values: Array, low: Array, high: Array) -> tuple[Effect, ...]:
    """Return the effects of all levels, given the numbers of one after the other."""
    return tuple(
        Effect(factor=factor, level=level, change=estimate(*ends))
        for (factor, level), *ends in zip(columns.levels, values, low, high, strict=True)
    )


def _within(columns: Array, question: Array) -> Array:
    """Return columns less their mean in each question."""
    counts = np.bincount(question)
    means = [np.bincount(question, column) / counts for column in columns.T]
    return columns - np.column_stack(means)[question]
