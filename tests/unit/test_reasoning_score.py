"""The statistics of reasoning scores on made matrices: where the truth is known."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from workbench.stats.influence import (
    LEAK_BITS,
    LeakOfAnswer,
    Scored,
    between_within,
    bits,
    bits_by_question,
    distances,
    leaks,
    margin,
    permutation_p,
    summary,
)
from workbench.stats.intervals import Array, bounded_mean

Random = np.random.Generator
LENGTH = 5


def scored(log_probs: Array, own: Array) -> Scored:
    return Scored(np.asarray(log_probs, float), np.asarray(own), np.full(len(own), LENGTH))


def language(random: Random, k: int, strength: float) -> Array:
    """Return log-probabilities of six words under k reasonings: shape (k, 6)."""
    logits = random.normal(0, strength, (k, 6))
    return np.asarray(logits - logsumexp(logits, axis=1, keepdims=True))


def sampled(random: Random, words: Array, n: int, temperature: float = 1.0) -> Scored:
    """Return n answers of some words under each reasoning, drawn from what scores them."""
    own = np.repeat(np.arange(len(words)), n)
    drawn = words / temperature
    drawn = np.exp(drawn - logsumexp(drawn, axis=1, keepdims=True))
    steps = drawn.cumsum(axis=1)[own][:, None, :]
    answers = (random.random((len(own), LENGTH, 1)) > steps).sum(axis=2).clip(max=5)
    return scored(words.T[answers].sum(axis=1), own)


def indifferent(random: Random, k: int = 4, n: int = 2, spread: float = 8.0) -> Scored:
    """Return answers that do not depend on a reasoning, under reasonings that fit unequally."""
    own = np.repeat(np.arange(k), n)
    fits = random.normal(0, spread, k) + random.normal(0, 1.0, (len(own), k))
    return scored(fits - 40 * random.random((len(own), 1)), own)


@pytest.mark.parametrize("k", [2, 4, 7])
def test_answers_that_give_their_reasoning_away_have_log2_k_bits(k: int) -> None:
    certain = scored(np.where(np.eye(k) > 0, -1.0, -400.0), np.arange(k))
    assert bits(certain) == pytest.approx(np.log2(k))
    assert summary([certain] * 3).bits.value == pytest.approx(np.log2(k))


def test_answers_that_fit_every_reasoning_alike_have_no_bits() -> None:
    alike = scored(np.tile([[-3.0], [-90.0]], (1, 5)), np.array([0, 3]))
    assert bits(alike) == pytest.approx(0, abs=1e-9)
    assert permutation_p([alike, alike]) == 1.0


def test_reasonings_count_alike_however_many_answers_they_have() -> None:
    one = scored([[0, -1], [-1, 0]], [0, 1])
    many = scored([[0, -1], [0, -1], [0, -1], [-1, 0]], [0, 0, 0, 1])
    assert bits(many) == pytest.approx(bits(one))


def test_what_is_worth_nothing_is_near_zero_and_not_far_below() -> None:
    """Controls fit unequally, so that the plain formula says less than nothing, by many bits."""
    random = np.random.default_rng(3)
    told = summary([indifferent(random) for _ in range(40)])
    assert told.untempered < -5
    assert abs(told.bits.value) < 0.02
    assert told.p > 0.05


def test_the_mean_is_that_of_the_truth_where_answers_are_drawn_from_what_scores_them() -> None:
    random = np.random.default_rng(4)
    words = language(random, 4, 0.6)
    truth = bits(sampled(random, words, 5000))
    drawn = [bits(sampled(random, words, 2)) for _ in range(600)]
    assert np.mean(drawn) == pytest.approx(truth, abs=0.05)


def test_another_temperature_makes_the_score_smaller_than_what_answers_really_tell() -> None:
    random = np.random.default_rng(5)
    words = language(random, 4, 0.6)
    cold = words / 0.5
    cold = cold - logsumexp(cold, axis=1, keepdims=True)
    really = bits(sampled(random, cold, 5000))
    assert bits(sampled(random, words, 5000, temperature=0.5)) < really - 0.05


def test_no_question_helps_to_choose_its_own_power() -> None:
    random = np.random.default_rng(6)
    others = [indifferent(random) for _ in range(10)]
    lucky = scored(np.where(np.eye(4) > 0, 0.0, -3.0), np.arange(4))
    assert bits_by_question([*others, lucky])[-1] < 0.2 < bits(lucky)


@pytest.mark.parametrize("n_questions", [8, 30])
def test_intervals_hold_the_truth_as_often_as_they_say(n_questions: int) -> None:
    random = np.random.default_rng(7)
    truth = np.mean([bits(sampled(random, language(random, 4, 0.8), 40)) for _ in range(1500)])
    n_held = 0
    for _ in range(150):
        questions = [sampled(random, language(random, 4, 0.8), 2) for _ in range(n_questions)]
        found = bounded_mean(bits_by_question(questions), 0.0, 2.0)
        assert found.low is not None
        assert found.high is not None
        n_held += found.low <= truth <= found.high
    assert n_held / 150 > 0.92


def test_p_values_are_even_where_answers_do_not_depend_on_reasonings() -> None:
    random = np.random.default_rng(8)
    found = [
        permutation_p([indifferent(random) for _ in range(6)], n=199, seed=seed)
        for seed in range(300)
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.09


def test_p_is_small_where_they_do() -> None:
    random = np.random.default_rng(9)
    assert permutation_p([sampled(random, language(random, 3, 1.5), 3) for _ in range(6)]) < 0.01


def test_margins_are_of_the_questions_that_both_have() -> None:
    found = margin({1: 1.0, 2: 2.0, 3: 9.0}, {1: 0.5, 2: 1.5}, 2.0)
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert margin({1: 1.0}, {2: 1.0}, 2.0) is None


def test_answers_under_different_reasonings_are_told_from_those_under_the_same() -> None:
    apart = ["a red rose", "a red rose!", "seven blue whales swim", "seven blue whales swam"]
    question = distances(apart, [0, 0, 1, 1])
    assert question is not None
    found = between_within([question] * 4)
    assert found.between.value > 0.8 > 0.3 > found.within.value
    assert found.p < 0.05
    mixed = distances(apart, [0, 1, 0, 1])
    assert mixed is not None
    assert between_within([mixed] * 4).p > 0.5


@pytest.mark.parametrize("own", [[0, 0, 0], [0, 1, 2]])
def test_distances_need_answers_of_the_same_and_of_different_reasonings(own: list[int]) -> None:
    assert distances(["one", "two", "three"], own) is None


def test_leaks_are_flagged_by_what_is_above_a_foreign_reasoning() -> None:
    told = leaks(
        [
            LeakOfAnswer(1, 11, 1, own=LEAK_BITS + 1.4, foreign=0.3),
            LeakOfAnswer(1, 11, 2, own=LEAK_BITS + 0.6, foreign=0.1),
            LeakOfAnswer(1, 12, 3, own=LEAK_BITS + 0.2, foreign=LEAK_BITS),
            LeakOfAnswer(2, 21, 4, own=0.2, foreign=0.1),
        ]
    )
    assert told is not None
    assert [one.variant_id for one in told.reasonings] == [11, 12, 21]
    assert [one.variant_id for one in told.flagged] == [11]
    assert leaks([]) is None
