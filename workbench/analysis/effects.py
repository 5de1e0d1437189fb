"""Main effects: what a level changes while all other factors are held equal.

Comparisons: Bradley-Terry where the strength of a text is the sum of the effects of its levels, and
standing on the left has an effect of its own (a logistic regression on differences of levels).
Values on an axis: a linear model of levels and raters within each question. Either way the effects
of a factor have the mean 0, and intervals resample questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import expit

from workbench.analysis.resampling import (
    Array,
    Estimate,
    draw_weights,
    estimate,
    intervals,
)

RIDGE = 0.01
"""Keeps an effect finite where a level won everything; beside dozens of comparisons, nothing."""
STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one level changes against the average level of its factor, all else equal."""

    factor: str
    level: str
    change: Estimate
    """Comparisons: of the share of points, -0.5 to 0.5. Values: in points of the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Main effects on the outcome of comparisons, or on one axis."""

    axis: str
    effects: tuple[Effect, ...]
    entangled: tuple[str, ...]
    """Factors left out: their levels changed together with those of others."""
    n: int
    n_questions: int


@dataclass(frozen=True, slots=True)
class _Columns:
    """The levels behind the columns of a design; the first level of a factor has none."""

    factors: dict[str, list[str]]

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
        """Return shape (rows, width): 1 where a row has the level of a column."""
        blocks = [
            (table[f"{factor}{suffix}"].to_numpy()[:, None] == np.array(levels[1:])[None, :])
            for factor, levels in self.factors.items()
        ]
        return np.hstack(blocks).astype(float)


def comparison_effects(pairs: pd.DataFrame, factors: Sequence[str]) -> Effects | None:
    """Return main effects on who is better; None where no compared texts differ in a factor."""
    pairs, columns = _complete(pairs, factors, ("_a", "_b"))
    if columns is None:
        return None
    design = columns.dummies(pairs, "_a") - columns.dummies(pairs, "_b")
    columns, design, entangled = _untangled(columns, design)
    if columns is None:
        return None
    side = np.nan_to_num(2 * pairs["a_left"].to_numpy(dtype=float) - 1)
    patterns, pattern = np.unique(np.column_stack([design, side]), axis=0, return_inverse=True)
    question, questions = pd.factorize(pairs["question_id"], sort=True)
    shape = (len(questions), len(patterns))
    points = pairs["points"].to_numpy(dtype=float)
    won = sparse.csr_array((points, (question, pattern.ravel())), shape=shape)
    met = sparse.csr_array((np.ones(len(pairs)), (question, pattern.ravel())), shape=shape)
    weights = np.vstack([np.ones(len(questions)), draw_weights(len(questions))])
    fitted, information = _logistic(patterns, weights @ won, weights @ met)
    errors = np.linalg.inv(information)
    found = _effects(columns, fitted, len(questions), lambda change: expit(change) - 0.5, errors)
    return Effects(
        axis="preference",
        effects=found,
        entangled=entangled,
        n=len(pairs),
        n_questions=len(questions),
    )


def value_effects(values: pd.DataFrame, axis: str, factors: Sequence[str]) -> Effects | None:
    """Return main effects on the values of ``axis``; None where no texts differ in a factor.

    Args:
        values: Columns ``question_id``, ``rater_id``, ``value``, and one for each factor.
        axis: The axis that the values are on.
        factors: Which columns are factors.
    """
    values, columns = _complete(values, factors, ("",))
    if columns is None:
        return None
    question, questions = pd.factorize(values["question_id"], sort=True)
    design = _within(columns.dummies(values), question)
    columns, design, entangled = _untangled(columns, design)
    if columns is None:
        return None
    raters = pd.get_dummies(values["rater_id"]).to_numpy(dtype=float)[:, 1:]
    whole = np.column_stack([design, _within(raters, question)])
    told = _within(values["value"].to_numpy(dtype=float)[:, None], question)[:, 0]
    n, width = len(questions), whole.shape[1]
    squares, products = np.zeros((n, width, width)), np.zeros((n, width))
    np.add.at(squares, question, whole[:, :, None] * whole[:, None, :])
    np.add.at(products, question, whole * told[:, None])
    weights = np.vstack([np.ones(n), draw_weights(n)])
    left = np.tensordot(weights, squares, axes=1) + RIDGE * np.eye(width)
    fitted = np.linalg.solve(left, (weights @ products)[:, :, None])[:, :, 0]
    return Effects(
        axis=axis,
        effects=_effects(columns, fitted, n, lambda change: change),
        entangled=entangled,
        n=len(values),
        n_questions=n,
    )


def _complete(
    table: pd.DataFrame, factors: Sequence[str], suffixes: Sequence[str]
) -> tuple[pd.DataFrame, _Columns | None]:
    """Return the rows with a level of every factor that has two or more, and those levels."""
    kept: dict[str, list[str]] = {}
    for factor in factors:
        sides = [table[f"{factor}{suffix}"] for suffix in suffixes]
        levels = sorted({level for side in sides for level in side.dropna().unique()})
        if len(levels) > 1:
            kept[factor] = levels
    for factor in kept:
        for suffix in suffixes:
            table = table[table[f"{factor}{suffix}"].notna()]
    return table, _Columns(kept) if kept and len(table) else None


def _untangled(columns: _Columns, design: Array) -> tuple[_Columns | None, Array, tuple[str, ...]]:
    """Leave out the factors whose effects this design cannot tell from those of others."""
    whole = np.linalg.matrix_rank(design)
    entangled = []
    for factor in columns.factors:
        own = columns.of(factor)
        others = np.delete(design, own, axis=1)
        alone = np.linalg.matrix_rank(others) if others.size else 0
        if whole - alone < own.stop - own.start:
            entangled.append(factor)
    kept = {name: found for name, found in columns.factors.items() if name not in entangled}
    places = [i for name in kept for i in range(columns.of(name).start, columns.of(name).stop)]
    return _Columns(kept) if kept else None, design[:, places], tuple(entangled)


def _logistic(patterns: Array, won: Array, met: Array) -> tuple[Array, Array]:
    """Fit each draw by Newton's method.

    Args:
        patterns: Shape (patterns, width): the different rows of the design.
        won: Shape (draws, patterns): points of the first text.
        met: Shape (draws, patterns): comparisons.

    Returns:
        Coefficients, shape (draws, width), and the curvature of the first draw, (width, width).
    """
    n_draws, width = len(won), patterns.shape[1]
    fitted = np.zeros((n_draws, width))
    bend = np.zeros((n_draws, width, width))
    for _ in range(STEPS):
        chance = expit(fitted @ patterns.T)
        slope = (won - met * chance) @ patterns - RIDGE * fitted
        bend = RIDGE * np.eye(width) + np.einsum(
            "dm,mi,mj->dij", met * chance * (1 - chance), patterns, patterns, optimize=True
        )
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        fitted = fitted + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return fitted, bend[0]


def _effects(
    columns: _Columns,
    fitted: Array,
    n_questions: int,
    shown: Callable[[float], float],
    covariance: Array | None = None,
) -> tuple[Effect, ...]:
    """Return the effects of all levels.

    Args:
        columns: What the first columns of ``fitted`` are; others are left out.
        fitted: Shape (1 + draws, width); the first row is that of all questions.
        n_questions: How many questions were drawn from.
        shown: Turns a coefficient into what people read.
        covariance: Of the coefficients if all ratings were independent, shape (width, width).
    """
    effects = []
    for factor, levels in columns.factors.items():
        own = columns.of(factor)
        changes = np.column_stack([np.zeros(len(fitted)), fitted[:, own]])
        changes -= changes.mean(axis=1, keepdims=True)
        least = np.zeros(len(levels))
        if covariance is not None:
            centre = np.eye(len(levels))[:, 1:] - 1.0 / len(levels)
            least = np.sqrt(np.diag(centre @ covariance[own, own] @ centre.T))
        low, high = intervals(changes[0], changes[1:], n_questions, least)
        for i, level in enumerate(levels):
            change = estimate(shown(changes[0, i]), shown(low[i]), shown(high[i]))
            effects.append(Effect(factor=factor, level=level, change=change))
    return tuple(effects)


def _within(columns: Array, question: Array) -> Array:
    """Return columns less their mean in each question."""
    counts = np.bincount(question)
    sums = np.zeros((len(counts), columns.shape[1]))
    np.add.at(sums, question, columns)
    return columns - (sums / counts[:, None])[question]
