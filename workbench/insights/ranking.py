"""Rankings by Bradley-Terry: of the texts of one question, and of factor levels over questions.

Text (or level) i is better than j with probability ``1 / (1 + exp(-(s_i - s_j)))``; the strengths s
are those under which the comparisons are most likely (evalica's implementation of Newman, 2023). A
tie counts as half a win for either. Nothing is ranked across questions but levels, and levels only
by comparisons of two texts under the same question. For levels, the comparisons are those that a
mixed-effects model expects between all their texts, whichever of them were chosen to be rated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import evalica
import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, logit

from workbench.stats.clustered import (
    Separation,
    judgements_by_rater,
    nearly_separated,
    raters_of,
)
from workbench.stats.comparisons import log_lengths
from workbench.stats.intervals import Array, Estimate, estimate
from workbench.stats.mixed_effects import IMAGINED, MixedEffects, expected_points, fit

TOLERANCE = 1e-8
MOST_STEPS = 10_000
Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is ranked, with its share of points against an average one of the same ranking."""

    name: str
    share: Estimate
    """0.5 is average; the interval that of resampled questions, or of one question's curvature."""
    strength: float
    """The same on the scale of log odds; 0 is average."""
    n_comparisons: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WinChance:
    """The share of points that one level is expected to take from another."""

    better: str
    """The one with the higher place."""
    other: str
    share: Estimate
    n_comparisons: int
    """How often the two met; where never, others that both met tell of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterPlaces:
    """The same by the comparisons of one rater alone."""

    rater_id: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Levels of one factor, the strongest first."""

    factor: str
    places: tuple[Place, ...]
    win_chances: tuple[WinChance, ...]
    """Of every two levels, in the order of their places."""
    n_comparisons: int
    n_questions: int
    n_raters: int
    """With fewer than five, figures are of these raters, and say nothing of others."""
    by_rater: tuple[RaterPlaces, ...]
    """Of two to four raters, each alone."""
    apart: tuple[str, ...]
    """Levels that no chain of comparisons connects with those ranked; nothing is said of them."""
    twice_as_long: Estimate | None
    """Share of points of a text from one half as long; None where levels are not ranked as if
    texts were equally long."""


def strengths(points: Array, imagined: float = IMAGINED) -> Array:
    """Return the strength of each side on the scale of log odds, their mean 0.

    Args:
        points: Shape (n, n); row i, column j: the points that i took from j.
        imagined: Imagined ties of each side with an average one.
    """
    n = len(points)
    if imagined:
        points = np.pad(points, (0, 1))
        points[n, :n] = points[:n, n] = imagined / 2
    won, lost = np.nonzero(points)
    fitted = evalica.bradley_terry(
        won.tolist(),
        lost.tolist(),
        [evalica.Winner.X] * len(won),
        index=pd.RangeIndex(len(points)),
        weights=points[won, lost].tolist(),
        tolerance=TOLERANCE,
        limit=MOST_STEPS,
    )
    found = np.log(fitted.scores.sort_index().to_numpy(dtype=float))[:n]
    return np.asarray(found - found.mean(), dtype=float)


def rank_levels(pairs: pd.DataFrame, factor: str, *, equal_length: bool = False) -> Ranking | None:
    """Rank the levels of ``factor`` over questions; None where no two of them ever met.

    Args:
        pairs: Comparisons that rank; see ``workbench.stats.comparisons``.
        factor: One of its factors.
        equal_length: Whether to rank as if texts that meet were equally long.
    """
    known = pairs[pairs[f"{factor}_a"].notna() & pairs[f"{factor}_b"].notna()]
    differ = known[f"{factor}_a"] != known[f"{factor}_b"]
    # Texts of one level that met tell how far texts differ, if their question tells of levels.
    informative = known[known["question_id"].isin(known["question_id"][differ])]
    if informative.empty:
        return None
    names, levels = _levels(informative, factor)
    met = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(met, (levels[:, 0], levels[:, 1]), 1)
    np.fill_diagonal(met, 0)
    connected, unconnected = _connected(met)
    is_connected = np.isin(levels[:, 0], connected)
    tells = informative["question_id"][is_connected & (levels[:, 0] != levels[:, 1])]
    is_connected &= informative["question_id"].isin(tells).to_numpy()
    informative, levels = informative[is_connected], levels[is_connected]
    points = _points(levels, informative["points"].to_numpy(dtype=float), len(names))[
        np.ix_(connected, connected)
    ]
    lengths = log_lengths(informative) if equal_length else None
    fitted = fit(
        informative,
        np.searchsorted(connected, levels),
        np.eye(len(connected))[:, 1:],
        lengths=lengths,
    )
    shown = _shown(fitted, points)
    places = [
        Place(
            name=names[level],
            share=share,
            strength=strength,
            n_comparisons=int(met[level].sum() + met[:, level].sum()),
        )
        for level, (strength, share) in zip(connected, shown, strict=False)
    ]
    order = sorted(range(len(connected)), key=lambda i: -places[i].strength)
    return Ranking(
        factor=factor,
        places=tuple(places[i] for i in order),
        win_chances=_win_chances(
            order, places, shown[len(connected) :], (met + met.T)[connected][:, connected]
        ),
        n_comparisons=int(met[connected].sum()),
        n_questions=fitted.n_questions,
        n_raters=len(raters_of(informative)),
        by_rater=tuple(
            RaterPlaces(rater_id=rater, places=own.places)
            for rater, part in judgements_by_rater(informative)
            if (own := rank_levels(part, factor, equal_length=equal_length))
        ),
        apart=tuple(names[level] for level in unconnected),
        twice_as_long=fitted.twice_as_long(),
    )


def _shown(fitted: MixedEffects, points: Array) -> list[tuple[float, Estimate]]:
    """Return leads and shares: of each level against an average one, then of every two levels."""
    n = len(points)
    a, b = np.triu_indices(n, 1)

    def show(leads: Array, deviation: float) -> Array:
        expected = _round_robin(np.r_[0.0, leads], deviation)
        return np.concatenate([strengths(expected, imagined=0), logit(expected[a, b])])

    separated = nearly_separated(points.sum(axis=1), points.sum(axis=0))
    met = (points + points.T).sum(axis=1)
    separation = Separation(
        # One level that wins everything makes the average one as uncertain as itself.
        sparse=np.r_[np.full(n, separated.any()), separated[a] | separated[b]],
        scale=np.r_[np.full(n, n / (n - 1)), np.ones(len(a))],
        met=np.r_[met, np.minimum(met[a], met[b])],
    )
    values, low, high = fitted.shown(show, separation)
    shares = zip(values, expit(values), expit(low), expit(high), strict=True)
    return [(float(lead), estimate(*share)) for lead, *share in shares]


def _win_chances(
    order: Sequence[int],
    places: Sequence[Place],
    pairs: Sequence[tuple[float, Estimate]],
    met: Array,
) -> tuple[WinChance, ...]:
    """Return the win chance of every two levels, given those of the upper triangle, by rows."""
    n = len(order)
    row = {pair: place for place, pair in enumerate(combinations(range(n), 2))}
    found = []
    for better, other in combinations(order, 2):
        share = pairs[row[min(better, other), max(better, other)]][1]
        found.append(
            WinChance(
                better=places[better].name,
                other=places[other].name,
                share=share if better < other else _turned(share),
                n_comparisons=int(met[better, other]),
            )
        )
    return tuple(found)


def _turned(share: Estimate) -> Estimate:
    if share.low is None or share.high is None:
        return Estimate(1 - share.value)
    return Estimate(1 - share.value, 1 - share.high, 1 - share.low)


def _points(levels: Array, won: Array, n_levels: int) -> Array:
    """Return the points that each level took from each other one, shape (levels, levels)."""
    points = np.zeros((n_levels, n_levels))
    np.add.at(points, (levels[:, 0], levels[:, 1]), won)
    np.add.at(points, (levels[:, 1], levels[:, 0]), 1 - won)
    np.fill_diagonal(points, 0)
    return points


def _levels(pairs: pd.DataFrame, factor: str) -> tuple[list[str], Array]:
    """Return the names of the levels, and which of them met: shape (comparisons, 2)."""
    sides = pd.concat([pairs[f"{factor}_a"], pairs[f"{factor}_b"]])
    codes, names = pd.factorize(sides, sort=True)
    return [str(name) for name in names], codes.reshape(2, -1).T


def _round_robin(strength: Array, deviation: float) -> Array:
    """Return the points that each level is expected to take from each other one."""
    points = expected_points(strength[:, None] - strength[None, :], deviation)
    np.fill_diagonal(points, 0.0)
    return points


def rank_texts(pairs: pd.DataFrame) -> tuple[Place, ...]:
    """Rank the texts of one question (of answers: under one reasoning), the strongest first.

    The interval is that of the likelihood's curvature, or an exact one where a text won or lost
    (next to) all: within one question there are no questions to resample. ``name`` is the id of the
    text.
    """
    ids = sorted({*pairs["a"], *pairs["b"]})
    place = {text: i for i, text in enumerate(ids)}
    points = np.zeros((len(ids), len(ids)))
    a, b = pairs["a"].map(place).to_numpy(), pairs["b"].map(place).to_numpy()
    won = pairs["points"].to_numpy(dtype=float)
    np.add.at(points, (a, b), won)
    np.add.at(points, (b, a), 1.0 - won)
    values = strengths(points)
    low, high = _text_ends(points, values)
    met = points + points.T
    places = [
        Place(
            name=str(text),
            share=estimate(*expit([values[i], low[i], high[i]])),
            strength=float(values[i]),
            n_comparisons=round(met[i].sum()),
        )
        for i, text in enumerate(ids)
    ]
    return tuple(sorted(places, key=lambda one: -one.strength))


def text_groups(pairs: pd.DataFrame, scope: str) -> list[str]:
    """Return the columns within which texts may be ranked."""
    return ["question_id", "variant_id"] if scope == "answer" else ["question_id"]


def _text_ends(points: Array, values: Array) -> tuple[Array, Array]:
    """Return both ends of the intervals of strengths."""
    errors = _errors(points, values)
    low, high = values - Z * errors, values + Z * errors
    won, lost = points.sum(axis=1), points.sum(axis=0)
    n = len(values)
    separation = Separation(
        sparse=nearly_separated(won, lost), scale=np.full(n, n / (n - 1)), met=won + lost
    )
    own = separation.sparse
    low[own], high[own] = separation.exact_ends(values[own], errors[own] ** 2, IMAGINED / 2)
    return low, high


def _errors(points: Array, values: Array) -> Array:
    """Return the standard errors of strengths against their mean, by the curvature."""
    n = len(values)
    chance = expit(values[:, None] - values[None, :])
    information = (points + points.T) * chance * (1 - chance)
    own = expit(values)
    curvature = np.diag(information.sum(axis=1) + IMAGINED * own * (1 - own)) - information
    centre = np.eye(n) - 1.0 / n
    return np.sqrt(np.diag(centre @ np.linalg.inv(curvature) @ centre.T))


def _connected(total: Array) -> tuple[list[int], list[int]]:
    """Return the levels of the largest connected part, by comparisons, and all others."""
    _, part = connected_components(total + total.T, directed=False)
    sizes = [total[part == one].sum() for one in range(part.max() + 1)]
    largest = int(np.argmax(sizes))
    connected = [i for i in range(len(total)) if part[i] == largest]
    return connected, sorted(set(chain(range(len(total)))) - set(connected))
