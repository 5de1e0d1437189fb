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
from scipy.special import log_expit

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
            slopes[part.places], hessians[part.places] = part.slopes, self._hessians(part)
        return slopes, hessians

    def vote_slopes(self, design: Array, effects: Array, votes: "Votes") -> Array:
        """Return what the slopes gain where the votes weigh more: shape (votes, parameters).

        The gain is the covariance of the slope with the log likelihood of the votes, over what is
        known of the strengths.
        """
        found = np.empty((len(votes.question), self.gains.shape[2] + design.shape[1] + 2))
        for part in self._batches(design, effects):
            first, last = np.searchsorted(votes.question, [part.places[0], part.places[-1] + 1])
            place = votes.question[first:last] - part.places[0]
            weighed = part.around * part.weights[:, :, None]
            fit = votes.fit(self.strengths, slice(first, last))
            found[first:last] = np.einsum("vd,vdp->vp", fit, weighed[place])
        return found

    def _batches(self, design: Array, effects: Array) -> Iterator["_Batch"]:
        """Yield a few questions at once, with what is known of their slopes over their draws."""
        n_questions, n_draws = self.fit.shape
        strength = design @ effects
        n_cells = np.diff(np.append(self.starts, len(self.levels)))
        parts = -(-len(self.levels) * n_draws * (design.shape[1] + 2) // AT_ONCE)
        for places in np.array_split(np.arange(n_questions), min(parts, n_questions)):
            cells = slice(self.starts[places[0]], self.starts[places[-1]] + n_cells[places[-1]])
            lead = self.sums[cells] - self.sizes[cells] * strength[self.levels[cells]][:, None]
            starts = self.starts[places] - self.starts[places[0]]
            yield self._batch(places, cells, design[self.levels[cells]], lead, starts)

    def _batch(
        self, places: Array, cells: slice, design: Array, lead: Array, starts: Array
    ) -> "_Batch":
        shared, own, size = self.shared, self.own, self.sizes[cells]
        # The deviations within a cell, and of the mean of a cell from its level.
        within = (self.squares[cells] - self.sums[cells] ** 2 / size) / own
        variance = own + size * shared
        mean = lead**2 / size / variance
        log = -0.5 * (within + mean + (size - 1) * np.log(own) + np.log(variance))
        log = self.fit[places] + np.add.reduceat(log, starts, axis=0)
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
        by_question = np.add.reduceat(by_cell, starts, axis=0)
        by_question = np.concatenate([self.gains[places], by_question], axis=2)
        slopes = (weights[:, None, :] @ by_question)[:, 0]
        return _Batch(
            places=places,
            cells=cells,
            design=design,
            lead=lead,
            starts=starts,
            weights=weights,
            slopes=slopes,
            around=by_question - slopes[:, None, :],
            mean=mean,
            within=within,
        )

    def _hessians(self, part: "_Batch") -> Array:
        """Return the curvatures of a few questions."""
        design, weights, size = part.design, part.weights, self.sizes[part.cells]
        variance = self.own + size * self.shared
        by_shared, by_own = size * self.shared / variance, self.own / variance
        covariance = (part.around * weights[:, :, None]).transpose(0, 2, 1) @ part.around
        of_cells = np.repeat(weights, np.diff(np.append(part.starts, len(part.lead))), axis=0)
        lead, mean, within = (
            (of_cells * one).sum(axis=1)[:, None] for one in (part.lead, part.mean, part.within)
        )
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
        hessians[:, :n_lengths, :n_lengths] += weights[:, None, :] @ self.gain_hessians[part.places]
        return hessians


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """A few questions: weights of their draws, slopes, and what these are made of."""

    places: Array
    """(questions,)"""
    cells: slice
    design: Array
    """(cells, effects)"""
    lead: Array
    """(cells, draws): of the sum of the strengths of a cell over what its level expects."""
    starts: Array
    """(questions,): their first cells among these."""
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
