"""Texts that met in comparisons, summed up by pairs; strengths of theirs are drawn from here."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, log_expit

from workbench.stats.importance_sampling import AT_ONCE, ImportanceSample, Votes
from workbench.stats.intervals import Array

N_NUMBERS = 200_000
"""Drawn strengths in all, which bounds time; of each text 32 to 128, more where texts are few."""
WIDER = 1.05
"""Draws spread that much wider than the curve at the mode: chances that level off on both sides
leave heavier tails than a normal curve has."""
NEWTON_STEPS, NEAR = 30, 1e-3
"""Of the search for a mode: the most steps, and the last step's length on the scale of log odds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPairs:
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
    sides: Array
    """(comparisons, 2): places of both texts of each."""
    lengths: Array | None
    """(texts,): logs of their lengths, where an effect of these is fitted."""

    @classmethod
    def of(
        cls, pairs: pd.DataFrame, levels: Array, n_levels: int, lengths: Array | None = None
    ) -> "TextPairs":
        """Sum up comparisons.

        Args:
            pairs: Comparisons; see ``workbench.stats.comparisons``.
            levels: Shape (comparisons, 2): from 0.
            n_levels: How many levels there are.
            lengths: Shape (comparisons, 2): logs of the lengths of their texts.
        """
        _, place = np.unique(pairs["question_id"].to_numpy(), return_inverse=True)
        texts, points = pairs[["a", "b"]].to_numpy(dtype=int), pairs["points"].to_numpy(dtype=float)
        sides = np.column_stack([np.tile(place, 2), levels.T.ravel(), texts.T.ravel()])
        found, text = np.unique(sides, axis=0, return_inverse=True)
        a, b = text.reshape(2, -1)
        of_texts = None if lengths is None else np.zeros(len(found))
        if of_texts is not None and lengths is not None:
            of_texts[text.ravel()] = lengths.T.ravel()
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
            sides=np.column_stack([a, b]),
            lengths=of_texts,
        )

    def votes(self, rater: Array, points: Array) -> Votes:
        """Return who said what of them.

        Args:
            rater: Shape (comparisons,): codes of those who made them, in the order of ``of``.
            points: Of the first text of each.
        """
        a, b = self.sides.T
        turned = a > b
        question = self.question[a]
        rows = np.column_stack([question, rater, np.minimum(a, b), np.maximum(a, b)])
        found, place = np.unique(rows, axis=0, return_inverse=True)
        won = np.bincount(place, np.where(turned, 1 - points, points))
        votes, starts = np.unique(found[:, :2], axis=0, return_index=True)
        met = np.bincount(place)
        return Votes(
            question=votes[:, 0],
            rater=votes[:, 1],
            n=np.add.reduceat(met, starts),
            starts=starts,
            pairs=found[:, 2:],
            won=won,
            lost=met - won,
        )

    def draw(
        self,
        strength: Array,
        shared: float,
        own: float,
        near: Array | None = None,
        by_length: float = 0.0,
    ) -> ImportanceSample:
        """Draw strengths around the modes at these parameters, from the same chances each time.

        Args:
            strength: Of each level.
            shared: Variance of what texts of a level share under a question.
            own: Variance of what each has of its own.
            near: Shape (texts,): strengths near the modes; without them, those of the levels.
            by_length: What the log of a length adds to a strength.
        """
        shifts = np.zeros(len(self.level)) if self.lengths is None else by_length * self.lengths
        n_texts = len(self.question)
        n_half = int(np.clip(N_NUMBERS // n_texts // 2, 16, 64))
        random = np.random.default_rng(0)
        modes = strength[self.level] if near is None else near.copy()
        drawn = np.empty((n_texts, 2 * n_half))
        sizes = np.bincount(self.question)
        first = np.cumsum(sizes) - sizes
        chance = np.empty((len(sizes), 2 * n_half))
        for size in np.unique(sizes):
            same = np.flatnonzero(sizes == size)
            parts = -(-same.size * size * max(size, 2 * n_half) // AT_ONCE)
            for places in np.array_split(same, min(parts, same.size)):
                texts = first[places][:, None] + np.arange(size)
                modes[texts], root = self._curve(
                    texts, strength, shared, own, modes[texts], shifts[texts]
                )
                normal = _normal(random, (*texts.shape, n_half))
                chance[places] = -0.5 * (normal**2).sum(axis=1)
                chance[places] -= np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)[:, None]
                drawn[texts] = modes[texts][:, :, None] + root @ normal
        combined = drawn if self.lengths is None else drawn + shifts[:, None]
        lead = combined[self.pairs[:, 0]] - combined[self.pairs[:, 1]]
        # log(1 / (1 + exp(-lead))), and the same of the opposite is that less the lead.
        log_likelihood = (self.won + self.lost)[:, None] * log_expit(lead) - self.lost[
            :, None
        ] * lead
        places = np.arange(len(sizes))
        first_pairs = np.searchsorted(self.question[self.pairs[:, 0]], places)
        cell = self.question * self.n_levels + self.level
        cells, starts, counts = np.unique(cell, return_index=True, return_counts=True)
        questions, levels = np.divmod(cells, self.n_levels)
        gains, gain_hessians = self._by_length(lead, first_pairs)
        return ImportanceSample(
            fit=np.add.reduceat(log_likelihood, first_pairs, axis=0) - chance,
            sums=np.add.reduceat(drawn, starts, axis=0),
            squares=np.add.reduceat(drawn**2, starts, axis=0),
            sizes=counts[:, None].astype(float),
            levels=levels,
            starts=np.searchsorted(questions, places),
            modes=modes,
            strengths=combined,
            gains=gains,
            gain_hessians=gain_hessians,
            shared=shared,
            own=own,
        )

    def _by_length(self, lead: Array, first_pairs: Array) -> tuple[Array, Array]:
        """Return slopes and curvatures for the effect of length: (questions, draws, 0 or 1)."""
        if self.lengths is None:
            none = np.zeros((len(first_pairs), lead.shape[1], 0))
            return none, none
        longer = (self.lengths[self.pairs[:, 0]] - self.lengths[self.pairs[:, 1]])[:, None]
        chance, met = expit(lead), (self.won + self.lost)[:, None]
        slope = longer * (self.won[:, None] - met * chance)
        hessian = longer**2 * met * chance * (1 - chance)
        slope, hessian = (np.add.reduceat(one, first_pairs, axis=0) for one in (slope, hessian))
        return slope[:, :, None], hessian[:, :, None]

    def _curve(
        self,
        texts: Array,
        strength: Array,
        shared: float,
        own: float,
        near: Array,
        shifts: Array,
    ) -> tuple[Array, Array]:
        """Return modes (questions, size), and roots of covariances (questions, size, size).

        ``texts``: shape (questions, size), the texts of questions with equally many; ``near`` and
        ``shifts`` like it.
        """
        size = texts.shape[1]
        level = self.level[texts]
        mean = strength[level]
        same_level = level[:, :, None] == level[:, None, :]
        known = np.linalg.inv(own * np.eye(size) + shared * same_level)
        points = self._points(texts)
        met = points + points.transpose(0, 2, 1)
        mode, hessian = near, known
        for _ in range(NEWTON_STEPS):
            shifted = mode + shifts
            chance = expit(shifted[:, :, None] - shifted[:, None, :])
            slope = (points - met * chance).sum(axis=2)
            slope -= (known @ (mode - mean)[:, :, None])[:, :, 0]
            posterior = met * chance * (1 - chance)
            hessian = known - posterior + np.eye(size) * posterior.sum(axis=2)[:, :, None]
            step = np.linalg.solve(hessian, slope[:, :, None])[:, :, 0]
            # Where chances level off, a whole step may lead to the other side of the mode.
            longest = np.abs(step).max(axis=1, keepdims=True)
            mode = mode + step / np.maximum(1.0, longest)
            if longest.max() < NEAR:
                break
        return mode, WIDER * np.linalg.cholesky(np.linalg.inv(hessian))

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

    Where there are many of them beside their dimensions, they are made to have variances of 1 and
    no correlation, which takes most of the chance out of sums over them. Of few that are made so,
    all would be about equally long, and weights could not tell the near from the far ones.
    """
    half = random.standard_normal(shape)
    if 4 * shape[1] <= shape[2]:
        covariance = half @ half.transpose(0, 2, 1) / shape[2]
        half = np.linalg.solve(np.linalg.cholesky(covariance), half)
    return np.concatenate([half, -half], axis=2)
