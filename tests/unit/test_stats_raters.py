"""Raters are a source of chance: what that does to intervals, and what is said of few raters."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.interval_coverage import (
    coverage,
    dealt_at_random,
    value_coverage,
    valued,
    world,
)
from workbench.insights.effects import comparison_effects, value_effects
from workbench.insights.ranking import Ranking, rank_levels
from workbench.stats.clustered import MIN_RATERS, RaterChanges, reaches


def ranking_of(pairs: pd.DataFrame) -> Ranking:
    found = rank_levels(pairs, "format")
    assert found is not None
    return found


def widths(found: Ranking) -> list[float]:
    return [(one.share.high or 0) - (one.share.low or 0) for one in found.places]


def test_intervals_of_many_raters_are_wider_than_those_of_these_raters() -> None:
    random = np.random.default_rng(0)
    pairs = dealt_at_random(random, world(random, 60, 8))
    of_any = ranking_of(pairs)
    # The same judgements, as if one rater had given all of them.
    of_one = ranking_of(pairs.assign(rater_id=1))
    assert [one.share.value for one in of_any.places] == [one.share.value for one in of_one.places]
    assert sum(widths(of_any)) > 1.1 * sum(widths(of_one))
    assert (of_any.n_raters, of_one.n_raters) == (8, 1)


def test_two_to_four_raters_are_drawn_apart_and_others_are_not() -> None:
    random = np.random.default_rng(1)
    made = world(random, 30, MIN_RATERS - 1)
    pairs, values = dealt_at_random(random, made), valued(random, made)
    ranking = ranking_of(pairs)
    assert [one.rater_id for one in ranking.by_rater] == [0, 1, 2, 3]
    assert all(len(one.places) == 3 for one in ranking.by_rater)
    for effects in (comparison_effects(pairs, ["format"]), value_effects(values, "c", ["format"])):
        assert effects is not None
        assert [one.rater_id for one in effects.by_rater] == [0, 1, 2, 3]
        pooled = {one.level: one.change.value for one in effects.effects}
        alone = [
            np.mean([own.effects[at].change.value for own in effects.by_rater]) for at in range(3)
        ]
        assert alone == pytest.approx([pooled[level] for level in "012"], abs=0.35)
    many = dealt_at_random(random, world(random, 30, MIN_RATERS))
    assert ranking_of(many).by_rater == ()
    assert ranking_of(many.assign(rater_id=7)).by_rater == ()


def test_errors_by_questions_and_raters_are_those_of_a_mean_in_two_ways() -> None:
    """A balanced mean: both variances of means add up, less that of single judgements."""
    random = np.random.default_rng(2)
    n_questions, n_raters = 40, 6
    values = random.normal(0, 1, (n_questions, 1)) + random.normal(0, 1, n_raters)
    values = values + random.normal(0, 1, (n_questions, n_raters))
    left = ((values - values.mean()) / values.size).reshape(-1, 1)
    rater = np.tile(np.arange(n_raters), n_questions)
    changes = RaterChanges.of(left, rater, np.ones(len(left)))
    assert changes is not None
    by_rater, by_both = changes.variances()
    assert by_rater[0] == pytest.approx(values.mean(axis=0).var(ddof=1) / n_raters, rel=1e-6)
    assert by_both[0] == pytest.approx(values.var() / values.size, rel=1e-6)
    by_question = values.mean(axis=1).std(ddof=1) / n_questions**0.5
    reach = reaches(np.array([by_question]), n_questions, changes)
    whole = np.sqrt(by_question**2 + by_rater[0] - by_both[0])
    # Student's t lies between that of five degrees of freedom and that of many.
    assert 1.96 * whole < reach[0] < 2.571 * whole


def test_intervals_of_eight_raters_hold_what_any_raters_would_come_to() -> None:
    """A small part of the table of docs/insights.md."""
    found = coverage(60, 8, adaptive=False, runs=20)
    assert found.rate > 0.88
    assert found.width / found.n < 0.25
    assert value_coverage(60, 8, runs=60).rate > 0.88


def test_values_of_three_raters_are_held_to_be_theirs_alone() -> None:
    """Of any raters they would tell too much: their intervals are right for these three."""
    assert value_coverage(60, 3, runs=60).rate > 0.88


@pytest.mark.soak
@pytest.mark.parametrize("n_questions", [10, 40, 200])
@pytest.mark.parametrize("n_raters", [1, 3, 8])
def test_intervals_hold_the_truth_with_raters_of_different_taste(
    n_questions: int, n_raters: int
) -> None:
    """The table of docs/insights.md."""
    runs = 100
    found = [coverage(n_questions, n_raters, adaptive=one, runs=runs) for one in (False, True)]
    for hits in (*found, value_coverage(n_questions, n_raters, runs=runs)):
        # The three intervals of a run hang together: the error is that of its runs.
        assert hits.rate > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
        assert hits.rate <= 0.99 or n_questions < 20
