"""Figures beside those of independent programs: choix, krippendorff, and a MAP by quadrature."""

from typing import Any

import choix
import krippendorff
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp

from workbench.insights.agreement import Distance, agreement
from workbench.insights.ranking import strengths
from workbench.stats.mixed_effects import IMAGINED, LOG_DEVIATION_VARIES, USUAL_LOG_DEVIATION, fit

Array = np.ndarray


@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_those_of_choix(seed: int) -> None:
    random = np.random.default_rng(seed)
    true = random.normal(0, 1, 8)
    sides = [random.choice(8, 2, replace=False) for _ in range(400)]
    data = [(i, j) if random.random() < expit(true[i] - true[j]) else (j, i) for i, j in sides]
    points = np.zeros((8, 8))
    np.add.at(points, tuple(np.array(data).T), 1)
    reference = choix.opt_pairwise(8, data, alpha=1e-9)
    found = strengths(points, imagined=0)
    assert found == pytest.approx(reference - reference.mean(), abs=1e-3)


@pytest.mark.parametrize("distance", ["nominal", "ordinal", "interval"])
def test_agreement_is_that_of_krippendorff(distance: Distance) -> None:
    random = np.random.default_rng(4)
    true = random.integers(1, 6, size=60)
    told = np.clip(true + random.integers(-1, 2, size=(4, 60)), 1, 5).astype(float)
    told[random.random(told.shape) < 0.3] = np.nan
    rows = [
        (unit, observer, unit // 3, told[observer, unit])
        for observer in range(4)
        for unit in range(60)
        if np.isfinite(told[observer, unit])
    ]
    units = pd.DataFrame(rows, columns=["unit", "observer", "question_id", "value"])
    units = units.assign(rater_id=units["observer"])
    found = agreement(units, "clear", distance)
    assert found is not None
    assert found.alpha is not None
    reference = krippendorff.alpha(reliability_data=told, level_of_measurement=distance)
    assert found.alpha.value == pytest.approx(reference, abs=1e-6)


NODES, SHARES = np.polynomial.hermite_e.hermegauss(121)
SHARES = np.log(SHARES / SHARES.sum())


def by_quadrature(won: Array, met: Array, by_length: Array | None) -> Array:
    """Return the likeliest lead, logs of both spreads, and effect of length, by brute force.

    Two levels with one text each: deviations of both texts come to one normal difference, which is
    integrated over on a fine grid.
    """

    def against(at: Array) -> Any:
        lead, spreads, slope = at[0], at[1:3], at[3] if by_length is not None else 0.0
        sd = np.sqrt(2 * np.exp(2 * spreads).sum())
        shift = slope * by_length if by_length is not None else 0.0
        chance = np.asarray(lead + shift)[..., None] + sd * NODES
        said = won[:, None] * log_expit(chance) + (met - won)[:, None] * log_expit(-chance)
        tie = log_expit(np.array([lead, -lead]) / 2).sum()
        known = IMAGINED * tie - ((spreads - USUAL_LOG_DEVIATION) ** 2).sum() / (
            2 * LOG_DEVIATION_VARIES**2
        )
        return -(logsumexp(said + SHARES, axis=1).sum() + known - slope**2 / 8)

    start = np.array(
        [0.1, USUAL_LOG_DEVIATION, USUAL_LOG_DEVIATION, *([0.0] if by_length is not None else [])]
    )
    return np.asarray(minimize(against, start, method="BFGS", options={"gtol": 1e-6}).x)


@pytest.mark.parametrize("lead", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("is_longer", [False, True])
def test_the_mixed_model_is_the_map_of_a_quadrature(lead: float, is_longer: bool) -> None:
    random = np.random.default_rng(int(10 * lead))
    met = random.integers(1, 12, size=120)
    longer = random.normal(0, 0.7, size=120)
    true = lead + random.normal(0, 1.0, 120) + (0.6 * longer if is_longer else 0)
    won = random.binomial(met, expit(true))
    question = np.repeat(np.arange(120), met)
    points = np.concatenate([np.arange(n) < w for n, w in zip(met, won, strict=True)]).astype(float)
    pairs = pd.DataFrame({"question_id": question, "points": points})
    pairs = pairs.assign(a=2 * question, b=2 * question + 1)
    lengths = np.column_stack([longer[question], 0 * longer[question]])
    levels = np.tile([1, 0], (len(pairs), 1))
    found = fit(pairs, levels, np.eye(2)[:, 1:], lengths=lengths if is_longer else None)
    reference = by_quadrature(won, met, longer if is_longer else None)
    assert found.parameters[-3] == pytest.approx(reference[0], abs=0.03)
    spread = np.sqrt(np.exp(2 * found.parameters[-2:]).sum())
    assert spread == pytest.approx(np.sqrt(np.exp(2 * reference[1:3]).sum()), abs=0.05)
    if is_longer:
        assert found.parameters[0] == pytest.approx(reference[3], abs=0.03)
