"""Paired changes: against published intervals, exact tests, and what no spread comes to."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from tests.unit.verdict_lab import fallen
from workbench.rounds.comparison import MEASURES, NO_DIRECTION, SHARES, _change
from workbench.stats.intervals import Estimate, mean, share, unseen, wilson
from workbench.stats.samples import PairedSample, mcnemar, newcombe, share_change


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        # Newcombe (1998), table III, method 10.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((36, 14, 0, 0), 0.1528, 0.4167),
        ((35, 14, 0, 1), 0.1461, 0.4175),
        ((18, 14, 0, 18), 0.1441, 0.3963),
        ((2, 97, 1, 0), 0.8721, 0.9854),
        ((1, 97, 1, 1), 0.8736, 0.9850),
        ((0, 30, 0, 0), 0.8395, 1.0),
        ((54, 0, 0, 0), -0.0664, 0.0664),
        ((30, 0, 0, 24), -0.0358, 0.0358),
    ],
)
def test_newcombes_interval_is_that_of_published_examples(
    cells: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert newcombe(*map(float, cells)) == pytest.approx((low, high), abs=0.0001)


def test_mcnemars_test_is_the_exact_binomial_one() -> None:
    for won, lost in product(range(16), repeat=2):
        expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
        assert mcnemar(won, lost) == pytest.approx(expected), (won, lost)


def test_wilsons_interval_and_the_unseen_share_are_scipys() -> None:
    for n, hits in ((10, 0), (10, 10), (40, 37), (7, 3)):
        found = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits / n, n) == pytest.approx((found.low, found.high))
        assert unseen(n) == pytest.approx(stats.binomtest(0, n).proportion_ci().high)


def test_an_interval_never_calls_sure_what_the_exact_test_does_not() -> None:
    for n, level in product((6, 40), (0.95, 0.99)):
        for won, lost in product(range(n + 1), repeat=2):
            for both in {0, (n - won - lost) // 2, n - won - lost}:
                if both < 0:
                    continue
                low, high = share_change(both, won, lost, n - won - lost - both, level)
                assert -1 <= low <= (won - lost) / n <= high <= 1
                if low > 0 or high < 0:
                    assert mcnemar(won, lost) <= 1 - level, (n, both, won, lost)


@pytest.mark.parametrize("others", [0.0, 1.0])
def test_a_unanimous_change_is_the_surest_and_four_of_forty_are_not_sure(others: float) -> None:
    def change(lost: int, won: int = 0) -> bool | None:
        before, after = fallen(40, lost, won)
        for values in (before, after):
            values[lost + won :] = [others] * (40 - lost - won)
        found = _change("clean", dict(enumerate(before)), dict(enumerate(after)))
        assert found is not None
        return found.is_better

    assert mcnemar(0, 4) == 0.125
    assert change(lost=4) is None
    assert change(lost=40) is False
    assert change(lost=0, won=40) is True
    assert change(lost=0) is None


def test_parts_of_questions_count_as_parts_and_make_no_interval_narrower() -> None:
    before, after = np.zeros(40), np.zeros(40)
    before[:8], after[:8] = 1.0, 0.5
    parts = PairedSample(before=tuple(before), after=tuple(after), is_share=True).interval()
    whole = share_change(4, 0, 4, 32)
    assert (parts.low, parts.high) == pytest.approx(whole)
    assert parts.value == pytest.approx(-0.1)
    assert parts.high is not None
    assert parts.high > 0, "8 halves are as sure as 4 wholes: p = 0.125"


@pytest.mark.parametrize("measure", [name for name in MEASURES if name not in SHARES])
def test_no_spread_is_no_missing_interval(measure: str) -> None:
    n = 40
    same = _change(measure, dict.fromkeys(range(n), 2.0), dict.fromkeys(range(n), 2.0))
    moved = _change(measure, dict.fromkeys(range(n), 2.0), dict.fromkeys(range(n), 5.0))
    assert same is not None
    assert moved is not None
    assert same.found.low is not None
    assert same.found.low < 0 < (same.found.high or 0)
    assert not same.is_sure
    assert moved.is_sure
    assert (moved.is_better is None) == (measure in NO_DIRECTION)


def test_a_mean_without_spread_has_an_interval_of_its_resolution() -> None:
    found = mean(np.full(40, 0.25), resolution=1.0)
    assert (found.low, found.high) == pytest.approx((0.25 - unseen(40), 0.25 + unseen(40)))
    assert mean(np.array([3.0])) == Estimate(3.0)
    values = np.random.default_rng(1).normal(3, 1, 30)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (mean(values).low, mean(values).high) == pytest.approx((expected.low, expected.high))


def test_questions_that_all_say_the_same_are_no_more_than_questions() -> None:
    """Many ratings of few questions, all alike: nothing tells how far those of a question hang
    together."""
    found = share(np.full(5, 40.0), np.full(5, 40.0))
    assert found.low == pytest.approx(wilson(1.0, 5)[0])
    some = share(np.array([40.0, 40, 40, 40, 36]), np.full(5, 40.0))
    assert some.low is not None
    assert some.low > 0.9
