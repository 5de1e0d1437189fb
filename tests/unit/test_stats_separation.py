"""Where nearly all comparisons say the same: intervals beside the exact ones of Clopper-Pearson."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import binom, binomtest

from workbench.insights.effects import comparison_effects
from workbench.insights.ranking import WinChance, rank_levels, rank_texts
from workbench.stats.intervals import Estimate


def win_chance(rows: list[tuple[int, str, str, float]]) -> WinChance:
    """Return the chance of the stronger of two levels, one text each under every question."""
    ranking = rank_levels(table(rows), "format")
    assert ranking is not None
    return ranking.win_chances[0]


def table(rows: list[tuple[int, str, str, float]]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["question_id", "format_a", "format_b", "points"])
    return found.assign(
        a=found["question_id"] * 1000 + found["format_a"].map(ord),
        b=found["question_id"] * 1000 + found["format_b"].map(ord),
    )


def ends(found: Estimate) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


@pytest.mark.parametrize(
    ("won", "lost"), [(20, 0), (100, 0), (399, 1), (398, 2), (396, 4), (190, 10)]
)
def test_nearly_unanimous_comparisons_have_the_exact_interval(won: int, lost: int) -> None:
    found = win_chance([(q, "x", "y", float(q < won)) for q in range(won + lost)])
    exact = binomtest(won, won + lost).proportion_ci()
    assert found.better == "x"
    low, high = ends(found.share)
    # In odds: a tenth of the loss that the exact interval allows, no more.
    assert 1 - low == pytest.approx(1 - exact.low, rel=0.1)
    assert high == pytest.approx(exact.high, abs=0.01)
    assert (high == 1) == (lost == 0)


def test_a_hundred_wins_and_no_loss_are_well_above_nine_in_ten() -> None:
    low, high = ends(win_chance([(q, "x", "y", 1.0) for q in range(100)]).share)
    assert low > 0.95
    assert high == 1


def test_comparisons_of_one_question_count_as_fewer_than_they_are() -> None:
    spread = ends(win_chance([(q, "x", "y", 1.0) for q in range(400)]).share)
    clumped = ends(win_chance([(q % 20, "x", "y", 1.0) for q in range(400)]).share)
    few = ends(win_chance([(q, "x", "y", 1.0) for q in range(20)]).share)
    assert few[0] < clumped[0] < spread[0]


def test_of_two_levels_every_outcome_together_covers_the_truth() -> None:
    """All outcomes of 20 questions, weighed by their chance: no simulation."""
    n = 20
    low, high = np.empty(n + 1), np.empty(n + 1)
    for won in range(n // 2, n + 1):
        found = win_chance([(q, "x", "y", float(q < won)) for q in range(n)])
        low[won], high[won] = ends(found.share)
        if found.better != "x":
            low[won], high[won] = 1 - high[won], 1 - low[won]
        low[n - won], high[n - won] = 1 - high[won], 1 - low[won]
    for truth in (0.5, 0.7, 0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998):
        chances = binom.pmf(np.arange(n + 1), n, truth)
        assert chances[(low <= truth) & (truth <= high)].sum() > 0.92, truth


def test_one_unbeaten_level_leaves_the_others_told_apart_as_before() -> None:
    random = np.random.default_rng(0)
    rows = [
        (q, a, b, 1.0 if a == "a" else float(random.random() < 0.5))
        for q in range(40)
        for a, b in ("ab", "ac", "bc")
    ]
    ranking = rank_levels(table(rows), "format")
    assert ranking is not None
    by_names = {(one.better, one.other): one.share for one in ranking.win_chances}
    for other in "bc":
        low, high = ends(by_names["a", other])
        assert low > 0.9
        assert high == 1
    low, high = ends(ranking.win_chances[2].share)
    assert high - low < 0.4
    assert all(one.share.low is not None for one in ranking.places)


def test_effects_of_a_level_that_won_everything_are_not_unknown() -> None:
    found = comparison_effects(table([(q, "x", "y", 1.0) for q in range(100)]), ["format"])
    assert found is not None
    change = next(one.change for one in found.effects if one.level == "x")
    low, high = ends(change)
    # Against an average one: half of the lead over the other, whose exact lower end is 0.964.
    assert low == pytest.approx(0.838 - 0.5, abs=0.02)
    assert high == pytest.approx(0.5)


@pytest.mark.parametrize("n", [3, 12, 100])
def test_a_text_that_won_everything_has_an_open_end(n: int) -> None:
    best, worst = rank_texts(pd.DataFrame([(1, 2, 1.0)] * n, columns=["a", "b", "points"]))
    low, high = ends(best.share)
    exact = binomtest(n, n).proportion_ci().low
    # Against an average one: half of the lead over the other.
    assert low / (1 - low) == pytest.approx(np.sqrt(exact / (1 - exact)), rel=0.15)
    assert high == 1
    assert ends(worst.share) == pytest.approx((0, 1 - low))


@pytest.mark.parametrize("n", [20, 100])
def test_intervals_of_two_texts_of_one_question_cover_nearly_sure_ones_too(n: int) -> None:
    ends = []
    for won in range(n + 1):
        rows = pd.DataFrame(
            {"a": 1, "b": 2, "points": np.r_[np.ones(won), np.zeros(n - won)]},
        )
        (share,) = (place.share for place in rank_texts(rows) if place.name == "1")
        assert share.low is not None
        assert share.high is not None
        ends.append((share.low, share.high))
    low, high = np.array(ends).T
    for chance in (0.5, 0.8, 0.9, 0.95, 0.99, 0.995, 0.9975, 0.999):
        # A lead over the mean of two texts is half of that over the other one.
        truth = expit(logit(chance) / 2)
        held = binom.pmf(np.arange(n + 1), n, chance)[(low <= truth) & (truth <= high)].sum()
        assert held >= 0.92, chance
