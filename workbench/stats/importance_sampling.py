"""Strengths of texts drawn by importance sampling, so that their deviations can be integrated over.

The strength of a text is that of its level, plus a normal deviation shared by all texts of its
level under its question, plus one of its own. Each question's strengths are drawn from a normal
curve around their mode (Durbin and Koopman, "Monte Carlo Maximum Likelihood Estimation for
Non-Gaussian State Space Models", 1997). What the likelihood tells of the parameters is asked at
those that were drawn at, where the draws are good for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, log_expit

from workbench.stats.intervals import Array

AT_ONCE = 2_000_000
"""Numbers in one batch of matrices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceSample:
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
    starts: Array
    """(questions,): their first cells."""
    modes: Array
    """(texts,): the likeliest strengths."""
    strengths: Array
    """(texts, draws): what their comparisons rest on, length included."""
    gains: Array
    """(questions, draws, lengths): slopes for the effect of length, if one is fitted."""
    gain_hessians: Array
    """(questions, draws, lengths): their curvatures."""
    shared: float
    """Variance of what texts of a level share under a question, as drawn at."""
    own: float
    """Variance of what each text has of its own."""

    def information(self, design: Array, effects: Array) -> tuple[Array, Array]:
        """Return slopes and curvatures of the log likelihood of each question.

        The curvature is the expected one of strengths that were known, less the variance of their
        slopes (Louis, "Finding the Observed Information Matrix when Using the EM Algorithm", 1982).

        Args:
            design: Shape (levels, effects): what the strength of a level is made of.
            effects: Shape (effects,): those that were drawn at.

        Returns:
            Shapes (questions, parameters) and (questions, parameters, parameters). Parameters are
            the effect of length if one is fitted, the effects of the design, then the logs of the
            standard deviations of what is shared and own.
        """
        n_parameters = self.gains.shape[2] + design.shape[1] + 2
        slopes = np.empty((len(self.fit), n_parameters))
        hessians = np.empty((len(self.fit), n_parameters, n_parameters))
        for part in self._batches(design, effects):
            slopes[part.places], hessians[part.places] = self._slopes_and_hessians(
                part, self._posterior(part)
            )
        return slopes, hessians

    def vote_slopes(self, design: Array, effects: Array, votes: "Votes") -> Array:
        """Return what the slopes gain where the votes weigh more: shape (votes, parameters).

        The gain is the covariance of the slope with the log likelihood of the votes, over what is
        known of the strengths.
        """
        found = np.empty((len(votes.question), self.gains.shape[2] + design.shape[1] + 2))
        for part in self._batches(design, effects):
            posterior = self._posterior(part)
            first, last = np.searchsorted(votes.question, [part.places[0], part.places[-1] + 1])
            place = votes.question[first:last] - part.places[0]
            weighed = posterior.around * posterior.weights[:, :, None]
            fit = votes.fit(self.strengths, slice(first, last))
            found[first:last] = np.einsum("vd,vdp->vp", fit, weighed[place])
        return found

    def _batches(self, design: Array, effects: Array) -> Iterator["_Batch"]:
        """Yield a few questions at once."""
        n_questions, n_draws = self.fit.shape
        strength = design @ effects
        n_cells = np.diff(np.append(self.starts, len(self.levels)))
        parts = -(-len(self.levels) * n_draws * (design.shape[1] + 2) // AT_ONCE)
        for places in np.array_split(np.arange(n_questions), min(parts, n_questions)):
            cells = slice(self.starts[places[0]], self.starts[places[-1]] + n_cells[places[-1]])
            lead = self.sums[cells] - self.sizes[cells] * strength[self.levels[cells]][:, None]
            starts = self.starts[places] - self.starts[places[0]]
            yield _Batch(places, cells, design[self.levels[cells]], lead, starts)

    def _posterior(self, part: "_Batch") -> "_Posterior":
        """Return what is known of the slopes of a few questions, over their draws."""
        places, cells, design, lead = part.places, part.cells, part.design, part.lead
        shared, own, size = self.shared, self.own, self.sizes[cells]
        # The deviations within a cell, and of the mean of a cell from its level.
        within = (self.squares[cells] - self.sums[cells] ** 2 / size) / own
        variance = own + size * shared
        mean = lead**2 / size / variance
        log = -0.5 * (within + mean + (size - 1) * np.log(own) + np.log(variance))
        log = self.fit[places] + np.add.reduceat(log, part.starts, axis=0)
        weights = np.exp(log - log.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        by_shared, by_own = size * shared / variance, own / variance
        by_cell = np.concatenate(
            [
                (lead / variance)[:, :, None] * design[:, None, :],
                ((mean - 1) * by_shared)[:, :, None],
                ((mean - 1) * by_own + within - (size - 1))[:, :, None],
            ],
            axis=2,
        )
        by_question = np.add.reduceat(by_cell, part.starts, axis=0)
        by_question = np.concatenate([self.gains[places], by_question], axis=2)
        slopes = (weights[:, None, :] @ by_question)[:, 0]
        return _Posterior(
            weights=weights,
            slopes=slopes,
            around=by_question - slopes[:, None, :],
            mean=mean,
            within=within,
        )

    def _slopes_and_hessians(self, part: "_Batch", posterior: "_Posterior") -> tuple[Array, Array]:
        """Return slopes and curvatures of a few questions, given what is known of their slopes."""
        places, cells, design, lead = part.places, part.cells, part.design, part.lead
        shared, own, size = self.shared, self.own, self.sizes[cells]
        variance = own + size * shared
        by_shared, by_own = size * shared / variance, own / variance
        weights, mean, within = posterior.weights, posterior.mean, posterior.within
        covariance = (posterior.around * weights[:, :, None]).transpose(0, 2, 1) @ posterior.around
        of_cells = np.repeat(weights, np.diff(np.append(part.starts, len(lead))), axis=0)
        lead, mean, within = ((of_cells * one).sum(axis=1)[:, None] for one in (lead, mean, within))
        by_deviation = 2 * lead / variance * np.hstack([by_shared, by_own])
        known = np.zeros((len(lead), design.shape[1] + 2, design.shape[1] + 2))
        known[:, :-2, :-2] = (size / variance)[:, :, None] * design[:, :, None] * design[:, None, :]
        known[:, :-2, -2:] = design[:, :, None] * by_deviation[:, None, :]
        known[:, -2:, :-2] = known[:, :-2, -2:].transpose(0, 2, 1)
        parts = np.stack([by_shared, by_own], axis=1)
        cross = 2 * (2 * mean - 1)[:, :, None] * parts @ parts.transpose(0, 2, 1)
        known[:, -2:, -2:] = cross
        known[:, -2, -2] -= (2 * (mean - 1) * by_shared)[:, 0]
        known[:, -1, -1] -= (2 * (mean - 1) * by_own - 2 * within)[:, 0]
        n_lengths = self.gains.shape[2]
        hessians = -covariance
        hessians[:, n_lengths:, n_lengths:] += np.add.reduceat(known, part.starts, axis=0)
        hessians[:, :n_lengths, :n_lengths] += weights[:, None, :] @ self.gain_hessians[places]
        return posterior.slopes, hessians


@dataclass(frozen=True, slots=True)
class _Batch:
    """A few questions."""

    places: Array
    """(few,): their places."""
    cells: slice
    design: Array
    """(cells, effects)"""
    lead: Array
    """(cells, draws): of the sum of the strengths of a cell over what its level expects."""
    starts: Array
    """(few,): their first cells among these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posterior:
    """Of a few questions: weights of their draws, slopes, and what these are made of."""

    weights: Array
    """(questions, draws)"""
    slopes: Array
    """(questions, parameters)"""
    around: Array
    """(questions, draws, parameters): slopes of single draws, less their mean."""
    mean: Array
    """(cells, draws): squared deviation of the mean of a cell from its level, scaled."""
    within: Array
    """(cells, draws): squared deviations within it, scaled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """The comparisons of one rater under one question, for all of both, by question."""

    question: Array
    """(votes,)"""
    rater: Array
    """(votes,)"""
    n: Array
    """(votes,): how many comparisons."""
    starts: Array
    """(votes,): first rows of ``pairs``."""
    pairs: Array
    """(rows, 2): places of the texts that met."""
    won: Array
    """(rows,): points of the first one."""
    lost: Array
    """(rows,)"""

    def fit(self, strengths: Array, part: slice) -> Array:
        """Return the log likelihood of some votes at drawn strengths: shape (votes, draws)."""
        starts = self.starts[part]
        last = np.append(self.starts, len(self.pairs))[part.stop]
        rows = slice(starts[0], last)
        lead = strengths[self.pairs[rows, 0]] - strengths[self.pairs[rows, 1]]
        lost = self.lost[rows][:, None]
        fit = (self.won[rows][:, None] + lost) * log_expit(lead) - lost * lead
        return np.asarray(np.add.reduceat(fit, starts - starts[0], axis=0))


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
