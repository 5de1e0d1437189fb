"""Figures at equal length: what length adds is found, and taken out of rankings and effects."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from workbench.insights.effects import comparison_effects, value_effects
from workbench.insights.ranking import rank_levels
from workbench.stats.mixed_effects import expected_points

LEVELS = np.array([0, 0, 1, 1])
BY_LENGTH, LEAD = 0.8, 0.7
"""Of a text that is e times as long; and of level 1, whose texts are shorter, at equal length."""
SPREAD = 0.6


def compared(seed: int, n_questions: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = []
    for question in range(n_questions):
        long = random.normal(5.5, 0.5, 4) + 0.9 * (LEVELS == 0)
        quality = LEAD * LEVELS + BY_LENGTH * long + random.normal(0, SPREAD, 4)
        for _ in range(5):
            i, j = random.choice(4, 2, replace=False)
            won = float(random.random() < expit(quality[i] - quality[j]))
            rows.append([question, 4 * question + i, 4 * question + j, *LEVELS[[i, j]].astype(str)])
            rows[-1] += [*np.exp(long[[i, j]]), won]
    names = ["question_id", "a", "b", "format_a", "format_b", "characters_a", "characters_b"]
    return pd.DataFrame(rows, columns=[*names, "points"])


def test_levels_and_length_are_told_apart_and_their_intervals_hold_the_truth() -> None:
    twice, lead, held = [], [], []
    for seed in range(10):
        pairs = compared(seed, 80)
        found = rank_levels(pairs, "format", equal_length=True)
        assert found is not None
        assert found.twice_as_long is not None
        assert found.twice_as_long.low is not None
        assert found.twice_as_long.high is not None
        twice.append(found.twice_as_long.value)
        places = {one.name: one for one in found.places}
        lead.append(places["1"].strength - places["0"].strength)
        true = expected_points(np.array(BY_LENGTH * np.log(2)), SPREAD * np.sqrt(2))
        held.append(found.twice_as_long.low <= true <= found.twice_as_long.high)
        effects = comparison_effects(pairs, ["format"], equal_length=True)
        assert effects is not None
        assert effects.twice_as_long is not None
        assert effects.twice_as_long.value == pytest.approx(twice[-1] - 0.5, abs=1e-6)
    assert np.mean(twice) == pytest.approx(true, abs=0.02)
    chance = expected_points(np.array(LEAD), SPREAD * np.sqrt(2))
    assert expit(np.mean(lead)) == pytest.approx(chance, abs=0.03)
    assert np.mean(held) >= 0.8


def test_without_it_the_longer_level_hides_that_the_other_is_better() -> None:
    as_is = rank_levels(compared(0, 150), "format")
    equal = rank_levels(compared(0, 150), "format", equal_length=True)
    assert as_is is not None
    assert equal is not None
    assert as_is.twice_as_long is None
    by_name = {one.name: one.share for one in equal.places}
    assert (by_name["1"].low or 0) > 0.52
    plain = {one.name: one.share for one in as_is.places}
    assert plain["1"].value < by_name["1"].value - 0.05


def test_where_length_says_nothing_its_effect_is_unsure_and_figures_stay() -> None:
    pairs = compared(1, 60).assign(characters_a=100, characters_b=100)
    as_is, equal = (rank_levels(pairs, "format", equal_length=one) for one in (False, True))
    assert as_is is not None
    assert equal is not None
    assert equal.twice_as_long is not None
    assert (equal.twice_as_long.low or 0) < 0.3
    assert (equal.twice_as_long.high or 0) > 0.7
    for one, other in zip(as_is.places, equal.places, strict=True):
        assert one.share.value == pytest.approx(other.share.value, abs=0.005)


def test_values_on_an_axis_are_told_at_equal_length_too() -> None:
    random = np.random.default_rng(0)
    rows = []
    for question in range(100):
        for level in LEVELS:
            long = random.normal(5.5, 0.5) + 0.9 * (level == 0)
            value = 0.6 * level + 0.5 * long / np.log(2) + random.normal(0, 0.3)
            rows.append((question, 1, str(level), value, np.exp(long)))
    names = ["question_id", "rater_id", "format", "value", "characters"]
    found = value_effects(pd.DataFrame(rows, columns=names), "c", ["format"], equal_length=True)
    assert found is not None
    assert found.twice_as_long is not None
    assert found.twice_as_long.value == pytest.approx(0.5, abs=0.05)
    assert next(one.change.value for one in found.effects if one.level == "1") == pytest.approx(
        0.3, abs=0.06
    )
