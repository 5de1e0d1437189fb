"""Bradley-Terry for levels whose texts differ, as they do: a mixed-effects model.

A text is better than another with probability ``1 / (1 + exp(-difference))`` of their strengths,
and these vary around those of their levels (see ``workbench.analysis.drawn_strengths``).

Why not count the points that level took from level? A sampler that looks at earlier ratings deals
close texts more often, and these draw the levels together. The likelihood of all comparisons under
a model of the texts holds whatever was chosen, as long as the choice rests on what was rated
(Rubin, "Inference and Missing Data", 1976).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import optimize
from scipy.special import expit, log_expit

from workbench.analysis.drawn_strengths import MetTexts
from workbench.analysis.resampling import Array, jackknife_errors, within_errors

IMAGINED = 1.0
"""Ties that each level is imagined to have with an average one: without them, who won everything
would be infinitely strong. Beside dozens of real comparisons they weigh nothing."""
USUAL_SPREAD, SPREAD_VARIES = np.log(0.6), 0.7
"""Mean and standard deviation of what the logs of both spreads are thought to be beforehand; it
counts where comparisons tell little of them, as with a single text of each level."""
N_ROUNDS = 3
"""How often strengths are drawn anew at what was fitted with the last ones."""
STEP = 1e-3
_NODES, _SHARES = np.polynomial.hermite_e.hermegauss(31)

Likelihoods = Callable[[Array], tuple[Array, Array]]
"""Gives the log likelihood of each question, and its slopes, from the parameters."""
Shown = Callable[[Array, float], Array]
"""Gives the numbers that are shown, shape (n,), from the effects and the spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedEffects:
    """The effects, and what they would be without each question."""

    parameters: Array
    """Effects of the columns of the design, then the logs of both spreads."""
    changes: Array
    """(questions, parameters): what leaving a question out changes."""
    covariance: Array
    """(parameters, parameters): if the model were right in all."""

    @property
    def n_questions(self) -> int:
        """How many questions were fitted to."""
        return len(self.changes)

    def shown(self, show: Shown) -> tuple[Array, Array, Array]:
        """Return what ``show`` gives, and both ends of its intervals; each of shape (n,)."""
        slopes = np.column_stack(
            [
                (show(*_split(self.parameters + step)) - show(*_split(self.parameters - step)))
                / (2 * STEP)
                for step in STEP * np.eye(len(self.parameters))
            ]
        )
        values = show(*_split(self.parameters))
        least = np.sqrt(np.diag(slopes @ self.covariance @ slopes.T))
        errors = np.maximum(jackknife_errors(self.changes @ slopes.T), least)
        return values, *within_errors(values, errors, self.n_questions)


def fit(question: Array, texts: Array, levels: Array, points: Array, design: Array) -> MixedEffects:
    """Fit the effects of the design and both spreads to comparisons.

    Args:
        question: Shape (comparisons,): ids.
        texts: Shape (comparisons, 2): ids of the two texts.
        levels: Shape (comparisons, 2): rows of ``design``.
        points: Shape (comparisons,): what the first text got, 0 to 1.
        design: Shape (levels, effects), of full rank beside a column of ones: what the strength of
            a level is made of. Strengths count against their mean.
    """
    met = MetTexts.of(question, texts, levels, points, len(design))
    design = design - design.mean(axis=0)
    parameters = np.r_[np.zeros(design.shape[1]), USUAL_SPREAD, USUAL_SPREAD]
    bounds = [(-8.0, 8.0)] * design.shape[1] + [(-4.0, 1.5)] * 2
    likelihoods: Likelihoods
    for _ in range(N_ROUNDS):
        drawn = met.draw(design @ parameters[:-2], *np.exp(2 * parameters[-2:]))
        likelihoods = partial(drawn.likelihoods, design)
        fitted = optimize.minimize(
            partial(_loss, likelihoods, design),
            parameters,
            jac=True,
            method="SLSQP",
            bounds=bounds,
        )
        parameters = np.asarray(fitted.x)
    slopes = likelihoods(parameters)[1]
    bends = _bends(lambda at: likelihoods(at)[1], parameters)
    known = _bends(lambda at: _beforehand(design, at)[1][None, :], parameters)
    covariance = _inverse(bends.sum(axis=0) + known[0])
    return MixedEffects(
        parameters=parameters, changes=_left_out(covariance, bends, slopes), covariance=covariance
    )


def expected_points(lead: Array, spread: float) -> Array:
    """Return the points that texts of a level are expected to take, 0 to 1.

    Args:
        lead: By how much their level leads, on the scale of log odds.
        spread: Standard deviation of the differences of two texts around it.
    """
    chances = expit(np.asarray(lead)[..., None] + spread * _NODES)
    return np.asarray(chances @ _SHARES / _SHARES.sum())


def _loss(likelihoods: Likelihoods, design: Array, parameters: Array) -> tuple[float, Array]:
    """Return what is to be as small as possible, and its slope."""
    value, slopes = likelihoods(parameters)
    known, slope = _beforehand(design, parameters)
    return -value.sum() - known, -slopes.sum(axis=0) - slope


def _split(parameters: Array) -> tuple[Array, float]:
    """Return the effects, and the spread of the differences of two texts of different levels."""
    return parameters[:-2], float(np.sqrt(2 * np.exp(2 * parameters[-2:]).sum()))


def _beforehand(design: Array, parameters: Array) -> tuple[float, Array]:
    """Return the log chance of the parameters before any comparison, and its slope."""
    strength, spreads = design @ parameters[:-2], parameters[-2:] - USUAL_SPREAD
    value = IMAGINED / 2 * (log_expit(strength) + log_expit(-strength)).sum()
    value -= (spreads**2).sum() / (2 * SPREAD_VARIES**2)
    slope = IMAGINED / 2 * (1 - 2 * expit(strength)) @ design
    return float(value), np.r_[slope, -spreads / SPREAD_VARIES**2]


def _left_out(covariance: Array, bends: Array, slopes: Array) -> Array:
    """Return what leaving out each question changes, by one step of Newton's method.

    A single question is held to tell at most half of all, so that the step stays within reason.
    """
    root = np.linalg.cholesky(covariance)
    shares, axes = np.linalg.eigh(root.T @ bends @ root)
    along = (slopes @ root)[:, None, :] @ axes / (1 - np.clip(shares, 0, 0.5))[:, None, :]
    return np.asarray(-(along @ axes.transpose(0, 2, 1))[:, 0, :] @ root.T)


def _inverse(bend: Array) -> Array:
    """Return the inverse of a curvature; where it tells next to nothing, one tie is imagined."""
    told, axes = np.linalg.eigh((bend + bend.T) / 2)
    return np.asarray(axes / np.maximum(told, IMAGINED / 4) @ axes.T)


def _bends(slopes: Callable[[Array], Array], parameters: Array) -> Array:
    """Return the curvature of each row of ``slopes``: (rows, parameters, parameters)."""
    return np.stack(
        [
            (slopes(parameters - step) - slopes(parameters + step)) / (2 * STEP)
            for step in STEP * np.eye(len(parameters))
        ],
        axis=2,
    )
