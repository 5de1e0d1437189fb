"""Strengths of texts drawn by importance sampling, so that their deviations can be integrated over.

The strength of a text is that of its level, plus a normal deviation shared by all texts of its
level under its question, plus one of its own. Each question's strengths are drawn from a normal
curve around their mode (Durbin and Koopman, "Monte Carlo Maximum Likelihood Estimation for
Non-Gaussian State Space Models", 1997). The comparisons are looked at once for a set of draws:
however the parameters change, only the chance of the draws beforehand changes with them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit

from workbench.analysis.resampling import Array

N_NUMBERS = 1_000_000
"""Drawn strengths in all, which bounds time and memory; of each text 16 to 64."""
WIDER = 1.05
"""Draws spread that much wider than the curve at the mode: chances that level off on both sides
leave heavier tails than a normal curve has."""
NEWTON_STEPS = 8
AT_ONCE = 2_000_000
"""Numbers in one batch of matrices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnStrengths:
    """What the likelihood needs of the draws, which stand question by question.

    A cell is all texts of one level under one question.
    """

    fit: Array
    """(questions, draws): log likelihood of the comparisons, less the log chance of the draw."""
    sums: Array
    """(cells, draws): sum of the strengths of a cell."""
    squares: Array
    """(cells, draws): sum of their squares."""
    sizes: Array
    """(cells, 1): number of texts."""
    levels: Array
    """(cells,): their levels."""
    questions: Array
    """(cells,): places of their questions."""
    starts: Array
    """(questions,): their first cells."""

    def likelihoods(self, design: Array, parameters: Array) -> tuple[Array, Array]:
        """Return the log likelihood of each question, and its slopes (questions, parameters).

        Args:
            design: Shape (levels, effects): what the strength of a level is made of.
            parameters: The effects, then the logs of the standard deviations of what texts of a
                level share under a question, and of what each has of its own.
        """
        shared, own = np.exp(2 * parameters[-2:])
        strength = (design @ parameters[:-2])[self.levels][:, None]
        # The deviations within a cell, and of the mean of a cell from its level.
        within = self.squares - self.sums**2 / self.sizes
        lead = self.sums - self.sizes * strength
        mean = lead**2 / self.sizes
        variance = own + self.sizes * shared
        log = -0.5 * (within / own + mean / variance)
        log -= 0.5 * ((self.sizes - 1) * np.log(own) + np.log(variance))
        log = self.fit + np.add.reduceat(log, self.starts, axis=0)
        top = log.max(axis=1, keepdims=True)
        weights = np.exp(log - top)
        total = weights.sum(axis=1, keepdims=True)
        value = np.log(total[:, 0] / log.shape[1]) + top[:, 0]
        weights = (weights / total)[self.questions]
        excess = mean / variance - 1
        by_strength = (weights * lead / variance).sum(axis=1)
        by_shared = (weights * excess * self.sizes / variance).sum(axis=1) * shared
        by_own = (weights * (within / own - (self.sizes - 1) + excess * own / variance)).sum(axis=1)
        slopes = np.column_stack([by_strength[:, None] * design[self.levels], by_shared, by_own])
        return value, np.add.reduceat(slopes, self.starts, axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetTexts:
    """Comparisons summed up by pairs: texts stand by question and level, pairs by first text."""

    question: Array
    """(texts,): places of the questions."""
    level: Array
    """(texts,)"""
    n_levels: int
    pairs: Array
    """(pairs, 2): places of the texts that met, the earlier one first."""
    won: Array
    """(pairs,): points of the first one."""
    lost: Array
    """(pairs,): points of the second one."""

    @classmethod
    def of(
        cls, question: Array, texts: Array, levels: Array, points: Array, n_levels: int
    ) -> "MetTexts":
        """Sum up comparisons.

        Args:
            question: Shape (comparisons,): ids.
            texts: Shape (comparisons, 2): ids.
            levels: Shape (comparisons, 2): from 0.
            points: Shape (comparisons,): what the first text got, 0 to 1.
            n_levels: How many levels there are.
        """
        _, place = np.unique(question, return_inverse=True)
        sides = np.column_stack([np.tile(place, 2), levels.T.ravel(), texts.T.ravel()])
        found, text = np.unique(sides, axis=0, return_inverse=True)
        a, b = text.reshape(2, -1)
        met = np.minimum(a, b) * len(found) + np.maximum(a, b)
        keys, pair = np.unique(met, return_inverse=True)
        won = np.bincount(pair, np.where(a < b, points, 1 - points))
        return cls(
            question=found[:, 0],
            level=found[:, 1],
            n_levels=n_levels,
            pairs=np.column_stack(np.divmod(keys, len(found))),
            won=won,
            lost=np.bincount(pair) - won,
        )

    def draw(self, strength: Array, shared: float, own: float) -> DrawnStrengths:
        """Draw strengths around the modes at these parameters, the same ones each time.

        Args:
            strength: Of each level.
            shared: Variance of what texts of a level share under a question.
            own: Variance of what each has of its own.
        """
        n_texts = len(self.question)
        n_half = int(np.clip(N_NUMBERS // n_texts // 2, 8, 32))
        drawn = np.empty((n_texts, 2 * n_half))
        random = np.random.default_rng(0)
        sizes = np.bincount(self.question)
        first = np.cumsum(sizes) - sizes
        chance = np.empty((len(sizes), 2 * n_half))
        for size in np.unique(sizes):
            same = np.flatnonzero(sizes == size)
            for few in np.array_split(same, -(-same.size * size * size // AT_ONCE)):
                texts = first[few][:, None] + np.arange(size)
                mode, root = self._curve(texts, strength, shared, own)
                normal = _normal(random, (*texts.shape, n_half))
                chance[few] = -0.5 * (normal**2).sum(axis=1)
                chance[few] -= np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)[:, None]
                drawn[texts] = mode[:, :, None] + root @ normal
        lead = drawn[self.pairs[:, 0]] - drawn[self.pairs[:, 1]]
        said = self.won[:, None] * log_expit(lead) + self.lost[:, None] * log_expit(-lead)
        places = np.arange(len(sizes))
        first_pairs = np.searchsorted(self.question[self.pairs[:, 0]], places)
        cell = self.question * self.n_levels + self.level
        cells, starts, counts = np.unique(cell, return_index=True, return_counts=True)
        questions, levels = np.divmod(cells, self.n_levels)
        return DrawnStrengths(
            fit=np.add.reduceat(said, first_pairs, axis=0) - chance,
            sums=np.add.reduceat(drawn, starts, axis=0),
            squares=np.add.reduceat(drawn**2, starts, axis=0),
            sizes=counts[:, None].astype(float),
            levels=levels,
            questions=questions,
            starts=np.searchsorted(questions, places),
        )

    def _curve(
        self, texts: Array, strength: Array, shared: float, own: float
    ) -> tuple[Array, Array]:
        """Return modes (questions, size), and roots of covariances (questions, size, size).

        ``texts``: shape (questions, size), the texts of questions with equally many.
        """
        size = texts.shape[1]
        level = self.level[texts]
        mean = strength[level]
        alike = level[:, :, None] == level[:, None, :]
        known = np.linalg.inv(own * np.eye(size) + shared * alike)
        points = self._points(texts)
        met = points + points.transpose(0, 2, 1)
        mode, bend = mean, known
        for _ in range(NEWTON_STEPS):
            chance = expit(mode[:, :, None] - mode[:, None, :])
            slope = (points - met * chance).sum(axis=2)
            slope -= (known @ (mode - mean)[:, :, None])[:, :, 0]
            told = met * chance * (1 - chance)
            bend = known - told + np.eye(size) * told.sum(axis=2)[:, :, None]
            mode = mode + np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        return mode, WIDER * np.linalg.cholesky(np.linalg.inv(bend))

    def _points(self, texts: Array) -> Array:
        """Return who took how many points from whom: shape (questions, size, size)."""
        n, size = texts.shape
        place = np.full(len(self.question), -1)
        place[texts] = np.arange(n * size).reshape(n, size)
        own = np.flatnonzero(place[self.pairs[:, 0]] >= 0)
        a, b = place[self.pairs[own]].T
        points = np.zeros((n, size, size))
        points[a // size, a % size, b % size] = self.won[own]
        points[a // size, b % size, a % size] = self.lost[own]
        return points


def _normal(random: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Return draws and their opposites, (questions, size, 2 * half), for ``shape`` with half.

    They have the mean 0 and, where there are enough of them, variances of 1 and no correlation:
    where the likelihood is about normal, sums over them are exact.
    """
    half = random.standard_normal(shape)
    if shape[1] < shape[2]:
        spread = half @ half.transpose(0, 2, 1) / shape[2]
        half = np.linalg.solve(np.linalg.cholesky(spread), half)
    return np.concatenate([half, -half], axis=2)
