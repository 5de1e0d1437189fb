"""Bradley-Terry for levels whose texts differ, as they do: a mixed-effects model.

A text is better than another with probability ``1 / (1 + exp(-difference))`` of their strengths,
and these vary around those of their levels (see ``workbench.stats.importance_sampling``).

Why not count the points that level took from level? A sampler that looks at earlier ratings deals
close texts more often, and these draw the levels together. The likelihood of all comparisons under
a model of the texts holds whatever was chosen, as long as the choice rests on what was rated
(Rubin, "Inference and Missing Data", 1976).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from workbench.stats.clustered import MIN_RATERS, RaterChanges, Separation, reaches
from workbench.stats.importance_sampling import ImportanceSample
from workbench.stats.intervals import Array, Estimate, estimate, jackknife_errors
from workbench.stats.text_pairs import TextPairs

IMAGINED = 1.0
"""Ties that each level is imagined to have with an average one: without them, who won everything
would be infinitely strong. Beside dozens of real comparisons they weigh nothing."""
USUAL_LOG_DEVIATION, LOG_DEVIATION_VARIES = np.log(0.6), 0.7
"""Mean and standard deviation of what the logs of both spreads are thought to be beforehand; it
counts where comparisons tell little of them, as with a single text of each level."""
USUAL_DEVIATION = float(np.exp(USUAL_LOG_DEVIATION))
"""Standard deviation of what texts of a level share under a question, and of what each has alone,
that is taken for usual before there are ratings."""
LENGTH_VARIES = 2.0
"""Standard deviation of what the log of a length is thought to add beforehand: next to nothing."""
MOST_EFFECT, LOG_DEVIATIONS = 8.0, (-3.0, 0.7)
"""Bounds of effects on the scale of log odds, and of the logs of both spreads."""
MOST_ROUNDS, LONGEST, SETTLED = 40, 0.5, 0.01
"""Of Newton's method: the most rounds, the longest step of a parameter that is taken (a shorter
one after a turn back), and the one that ends it."""
SUBSET_ABOVE = 1_000
"""Questions; with more, a part of them is asked first."""
STEP = 1e-3
_NODES, _SHARES = np.polynomial.hermite_e.hermegauss(31)

Shown = Callable[[Array, float], Array]
"""Gives the numbers that are shown, shape (n,), from the effects and the spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedEffects:
    """The effects, and what they would be without each question."""

    parameters: Array
    """The effect of the log of a length if it was fitted, effects of the columns of the design,
    then the logs of both spreads."""
    n_lengths: int
    """1 where the effect of length was fitted, else 0."""
    changes: Array
    """(questions, parameters): what leaving a question out changes."""
    covariance: Array
    """(parameters, parameters): if the model were right in all."""
    expected: Array
    """(effects, effects): covariance of the effects at these spreads, by the chances that are
    expected rather than by curvature: it holds also where one side wins nearly everything."""
    votes: RaterChanges | None
    """What raters change of the slopes; None: too few to tell of others."""

    @property
    def n_questions(self) -> int:
        """How many questions were fitted to."""
        return len(self.changes)

    def shown(self, show: Shown, separation: Separation) -> tuple[Array, Array, Array]:
        """Return what ``show`` gives, and both ends of its intervals; each of shape (n,)."""
        values, slopes = self._slopes(
            lambda parameters: show(*_split(parameters[self.n_lengths :]))
        )
        low, high = self._ends(values, slopes)
        sparse = separation.sparse
        if sparse.any() and self.n_questions > 1:
            own = slopes[sparse, self.n_lengths : -2]
            through = own @ self.expected
            variances = (through * own).sum(axis=1)
            if self.votes:
                by_all = np.pad(through, ((0, 0), (self.n_lengths, 2)))
                by_rater, by_both = self.votes.through(by_all).variances()
                variances += np.maximum(by_rater - by_both, 0)
            low[sparse], high[sparse] = separation.exact_ends(
                values[sparse], variances, IMAGINED / 2
            )
        return values, low, high

    def twice_as_long(self) -> Estimate | None:
        """Return the share of points of a text from one half as long, all else equal."""
        if not self.n_lengths:
            return None

        def show(parameters: Array) -> Array:
            _, deviation = _split(parameters)
            return np.asarray(logit(expected_points(np.log(2) * parameters[:1], deviation)))

        values, slopes = self._slopes(show)
        low, high = self._ends(values, slopes)
        return estimate(*(expit(end[0]) for end in (values, low, high)))

    def _slopes(self, show: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Return what ``show`` gives, shape (n,), and its slopes, (n, parameters)."""
        steps = STEP * np.eye(len(self.parameters))
        ends = [(show(self.parameters + step), show(self.parameters - step)) for step in steps]
        slopes = np.column_stack([(up - down) / (2 * STEP) for up, down in ends])
        return show(self.parameters), slopes

    def _ends(self, values: Array, slopes: Array) -> tuple[Array, Array]:
        """Return both ends of intervals by curvature, questions left out, and raters."""
        if self.n_questions < 2:
            return np.full(len(values), np.nan), np.full(len(values), np.nan)
        through = slopes @ self.covariance
        least = np.sqrt((through * slopes).sum(axis=1))
        errors = np.maximum(jackknife_errors(self.changes @ slopes.T), least)
        raters = self.votes and self.votes.through(through)
        reach = reaches(errors, self.n_questions, raters)
        return values - reach, values + reach


def fit(
    pairs: pd.DataFrame,
    levels: Array,
    design: Array,
    tied: Array | None = None,
    lengths: Array | None = None,
) -> MixedEffects:
    """Fit the effects of the design and both spreads to comparisons.

    Strengths are drawn anew at each step of Newton's method: far from where they were drawn they
    tell their own chances rather than the likelihood.

    Args:
        pairs: Comparisons that rank; see ``workbench.stats.comparisons``.
        levels: Shape (comparisons, 2): rows of ``design``.
        design: Shape (levels, effects), of full rank beside a column of ones: what the strength of
            a level is made of. Strengths count against their mean.
        tied: Shape (any, effects): what the strengths are made of to which a tie with an average
            one is imagined; without it, those of the levels.
        lengths: Shape (comparisons, 2): logs of the lengths of both texts, whose effect is then
            fitted too: the effects are those of texts of equal length.
    """
    centred = design - design.mean(axis=0)
    tied = centred if tied is None else tied
    n_lengths = 0 if lengths is None else 1
    parameters = np.r_[
        np.zeros(n_lengths + design.shape[1]), USUAL_LOG_DEVIATION, USUAL_LOG_DEVIATION
    ]
    _, least = _beforehand(tied, parameters)
    model = _Model(design=centred, tied=tied, least=least)
    question = pairs["question_id"].to_numpy()
    asked = np.unique(question)
    if len(asked) > SUBSET_ABOVE:
        # A part of the questions leads near what all of them say, in a fraction of the time.
        sampled = np.isin(question, asked[:: len(asked) // SUBSET_ABOVE + 1])
        own = None if lengths is None else lengths[sampled]
        met = TextPairs.of(pairs[sampled], levels[sampled], len(design), own)
        parameters, _ = _settled(met, model, parameters)
    met = TextPairs.of(pairs, levels, len(design), lengths)
    parameters, derived = _settled(met, model, parameters)
    return MixedEffects(
        parameters=parameters,
        n_lengths=n_lengths,
        changes=_left_out(derived.covariance, derived.hessians, derived.slopes),
        covariance=derived.covariance,
        expected=_expected(pairs, levels, model, parameters),
        votes=_votes(pairs, met, model, derived),
    )


def expected_points(lead: Array, deviation: float) -> Array:
    """Return the points that texts of a level are expected to take, 0 to 1.

    Args:
        lead: By how much their level leads, on the scale of log odds.
        deviation: Standard deviation of the differences of two texts around it.
    """
    chances = expit(np.asarray(lead)[..., None] + deviation * _NODES)
    return np.asarray(chances @ _SHARES / _SHARES.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What is fitted."""

    design: Array
    tied: Array
    least: Array
    """Curvature of what is known beforehand, where all levels are average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Derivatives:
    """What the comparisons, and what is known beforehand, tell at some parameters."""

    slopes: Array
    """(questions, parameters)"""
    hessians: Array
    """(questions, parameters, parameters)"""
    slope: Array
    """Of all questions, and of what is known beforehand."""
    covariance: Array
    drawn: ImportanceSample
    effects: Array
    """Those that were drawn at."""


def _settled(met: TextPairs, model: _Model, parameters: Array) -> tuple[Array, _Derivatives]:
    """Return the likeliest parameters, searched from ``parameters`` on, and what tells of them."""
    n_effects = len(parameters) - 2
    least = np.r_[np.full(n_effects, -MOST_EFFECT), LOG_DEVIATIONS[0], LOG_DEVIATIONS[0]]
    most = np.r_[np.full(n_effects, MOST_EFFECT), LOG_DEVIATIONS[1], LOG_DEVIATIONS[1]]
    derived = _derivatives(met, model, parameters)
    longest, last = LONGEST, np.zeros(len(parameters))
    for _ in range(MOST_ROUNDS):
        step = derived.covariance @ derived.slope
        longest = longest / 2 if step @ last < 0 else min(LONGEST, 1.5 * longest)
        step *= min(1.0, longest / np.abs(step).max())
        last = step
        following = np.clip(parameters + step, least, most)
        if np.abs(following - parameters).max() < SETTLED:
            break
        parameters = following
        derived = _derivatives(met, model, parameters, derived.drawn.modes)
    return parameters, derived


def _derivatives(
    met: TextPairs, model: _Model, parameters: Array, near: Array | None = None
) -> _Derivatives:
    n_lengths = len(parameters) - 2 - model.design.shape[1]
    by_length, effects = parameters[:n_lengths], parameters[n_lengths:-2]
    shared, own = np.exp(2 * parameters[-2:])
    drawn = met.draw(model.design @ effects, shared, own, near, by_length.sum())
    slopes, hessians = drawn.information(model.design, effects)
    slope, hessian = _beforehand(model.tied, parameters)
    return _Derivatives(
        slopes=slopes,
        hessians=hessians,
        slope=slopes.sum(axis=0) + slope,
        covariance=_inverse(hessians.sum(axis=0) + hessian, model.least),
        drawn=drawn,
        effects=effects,
    )


def _votes(
    pairs: pd.DataFrame, met: TextPairs, model: _Model, derived: _Derivatives
) -> RaterChanges | None:
    """Return what raters change of the slopes, where there are enough of them."""
    if "rater_id" not in pairs or pairs["rater_id"].nunique() < MIN_RATERS:
        return None
    rater, _ = pd.factorize(pairs["rater_id"], sort=True)
    votes = met.votes(rater, pairs["points"].to_numpy(dtype=float))
    slopes = derived.drawn.vote_slopes(model.design, derived.effects, votes)
    return RaterChanges.of(slopes, votes.rater, votes.n)


def _expected(pairs: pd.DataFrame, levels: Array, model: _Model, parameters: Array) -> Array:
    """Return the covariance of effects that expected chances give, at these spreads.

    Comparisons of one question hang together: they count as if there were fewer, by the usual
    design effect 1 + (size - 1) times the correlation of two of them.
    """
    n_effects = model.design.shape[1]
    effects, deviation = _split(parameters[-2 - n_effects :])
    n_levels = len(model.design)
    differ = levels[:, 0] != levels[:, 1]
    met = np.bincount(levels[differ] @ [n_levels, 1], minlength=n_levels**2)
    places = np.flatnonzero(met)
    contrast = model.design[places // n_levels] - model.design[places % n_levels]
    lead = (contrast @ effects)[:, None] + deviation * _NODES
    shares = _SHARES / _SHARES.sum()
    chance, slope = expit(lead) @ shares, (expit(lead) * expit(-lead)) @ shares
    variance = chance * (expit(-lead) @ shares)
    correlation = np.clip(1 - slope / variance, 0, 1)
    _, sizes = np.unique(pairs["question_id"].to_numpy()[differ], return_counts=True)
    size = (sizes**2).sum() / sizes.sum()
    weight = met[places] * slope**2 / variance / (1 + (size - 1) * correlation)
    _, hessian = _beforehand(model.tied, parameters[-2 - n_effects :])
    return np.linalg.inv((contrast.T * weight) @ contrast + hessian[:-2, :-2])


def _split(parameters: Array) -> tuple[Array, float]:
    """Return the effects, and the spread of the differences of two texts of different levels."""
    return parameters[:-2], float(np.sqrt(2 * np.exp(2 * parameters[-2:]).sum()))


def _beforehand(tied: Array, parameters: Array) -> tuple[Array, Array]:
    """Return slope and curvature of the log chance of the parameters before any comparison."""
    n_lengths = len(parameters) - 2 - tied.shape[1]
    effects = slice(n_lengths, -2)
    chance = expit(tied @ parameters[effects])
    slope = np.r_[
        -parameters[:n_lengths] / LENGTH_VARIES**2,
        IMAGINED / 2 * (1 - 2 * chance) @ tied,
        (USUAL_LOG_DEVIATION - parameters[-2:]) / LOG_DEVIATION_VARIES**2,
    ]
    hessian = np.diag(np.full(len(parameters), 1 / LOG_DEVIATION_VARIES**2))
    hessian[:n_lengths, :n_lengths] /= (LENGTH_VARIES / LOG_DEVIATION_VARIES) ** 2
    hessian[effects, effects] = IMAGINED * (tied.T * (chance * (1 - chance))) @ tied
    return slope, hessian


def _left_out(covariance: Array, hessians: Array, slopes: Array) -> Array:
    """Return what leaving out each question changes, by one step of Newton's method.

    A single question is held to tell at most half of all, so that the step stays within reason.
    """
    root = np.linalg.cholesky(covariance)
    shares, axes = np.linalg.eigh(root.T @ hessians @ root)
    along = (slopes @ root)[:, None, :] @ axes / (1 - np.clip(shares, 0, 0.5))[:, None, :]
    return np.asarray(-(along @ axes.transpose(0, 2, 1))[:, 0, :] @ root.T)


def _inverse(hessian: Array, least: Array) -> Array:
    """Return the inverse of a curvature, of which at least what ``least`` tells is taken for real.

    Drawn strengths may say less than nothing in a direction of which comparisons tell next to
    nothing, and of who won everything the likelihood levels off.
    """
    scale = np.linalg.inv(np.linalg.cholesky(least))
    derived, axes = np.linalg.eigh(scale @ hessian @ scale.T)
    root = scale.T @ axes
    return np.asarray(root / np.maximum(derived, 1.0) @ root.T)
