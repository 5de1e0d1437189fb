"""What is said of reasonings, on made scores where the truth is known: how often it is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks.reasoning_verdicts import EFFECTS, LIMIT, Case, rates, sampled_question
from workbench.insights.reasoning_verdict import (
    DIFFERENT,
    FEWEST_FOR_INPUT,
    FEWEST_QUESTIONS,
    WORTH,
    WORTH_OF_TOKEN,
    Lack,
    judge,
    judge_per_token,
)
from workbench.stats.influence import Scored, bits, summary
from workbench.stats.intervals import Estimate, bounded_mean, lower_bound, upper_bound


def without_effect(n: int, **changes: object) -> list[Scored]:
    """Return questions whose answers are exactly as likely under every reasoning."""
    own = np.repeat(np.arange(4), 2)
    alike = np.tile(-40.0 - np.arange(8.0)[:, None], (1, 4))
    one = Scored(alike, own, np.full(8, 20), is_as_scored=True, difference=0.9)
    return [replace(one, **changes)] * n  # type: ignore[arg-type]


def deciding(n: int, length: int = 20) -> list[Scored]:
    """Return questions whose answers give their reasonings away."""
    own = np.arange(4)
    certain = np.where(np.eye(4) > 0, -1.0, -60.0)
    one = Scored(certain, own, np.full(4, length), is_as_scored=True, difference=0.9)
    return [one] * n


def said(questions: list[Scored], **margins: Estimate) -> tuple[str, tuple[Lack, ...]]:
    own = summary(questions)
    found = judge(questions, own, margins, LIMIT)
    return found.verdict, found.missing


def test_only_an_output_is_said_where_reasonings_surely_do_nothing() -> None:
    verdict, missing = said(without_effect(80))
    assert (verdict, missing) == ("output", ())


def test_no_spread_at_all_is_no_certainty_with_few_questions() -> None:
    """Thirty questions without an effect may be of a set in which one of ten is decided."""
    for n in (8, 29, 30, 50):
        assert said(without_effect(n))[0] == "unclear"
    _, missing = said(without_effect(8))
    assert missing == (Lack("different", 8, 30), Lack("sampling", 8, 30))
    _, (lack,) = said(without_effect(40))
    assert (lack.what, lack.has, lack.needs) == ("questions", 40, 60)


def test_reasonings_that_are_nearly_the_same_tell_nothing_however_many() -> None:
    verdict, missing = said(without_effect(500, difference=0.01))
    assert (verdict, missing) == ("unclear", (Lack("different", 0, FEWEST_QUESTIONS),))


def test_answers_drawn_from_something_else_than_what_scores_them_tell_nothing() -> None:
    verdict, missing = said(without_effect(500, is_as_scored=False))
    assert (verdict, missing) == ("unclear", (Lack("sampling", 0, FEWEST_QUESTIONS),))


def test_questions_that_cannot_tell_do_not_water_down_those_that_can() -> None:
    rng = np.random.default_rng(1)
    strong = [sampled_question(rng, 1.0) for _ in range(40)]
    watered = [*strong, *without_effect(600, difference=0.01)]
    found = judge(watered, summary(watered), {}, LIMIT)
    assert found.verdict == "unclear"
    assert found.at_most is not None
    assert found.at_most > WORTH * LIMIT


def test_an_input_is_surely_above_a_stated_size_not_above_zero() -> None:
    clear = Estimate(1.9, 1.5, 2.0)
    strong = deciding(20)
    assert said(strong, foreign=clear, shuffled=clear)[0] == "input"
    low = Estimate(0.15, 0.05, 0.3)
    assert low.low is not None
    assert 0 < low.low < WORTH * LIMIT
    assert said(strong, foreign=low, shuffled=clear)[0] == "unclear"
    assert said(strong)[1] == (Lack("controls", 0, 20),)
    assert said(deciding(FEWEST_FOR_INPUT - 1), foreign=clear)[0] == "unclear"


@pytest.mark.parametrize(
    ("shuffled", "verdict"),
    [
        (Estimate(0.01, -0.05, 0.07), "words"),
        (Estimate(0.2, -0.2, 0.6), "input_unsorted"),
        (Estimate(0.5, 0.2, 0.8), "input"),
    ],
)
def test_words_alone_are_said_to_do_it_only_where_the_difference_is_surely_small(
    shuffled: Estimate, verdict: str
) -> None:
    found = said(deciding(20), foreign=Estimate(1.9, 1.5, 2.0), shuffled=shuffled)
    assert found[0] == verdict
    assert bool(found[1]) == (verdict == "input_unsorted")


def test_chance_is_never_an_input() -> None:
    strong = deciding(20)
    own = replace(summary(strong), p=0.2)
    margins = {"foreign": Estimate(1.9, 1.5, 2.0)}
    assert judge(strong, own, margins, LIMIT).verdict == "unclear"


def test_a_single_question_has_no_verdict_and_no_interval() -> None:
    (one,) = deciding(1)
    own = summary([one])
    assert (own.bits.low, own.bits.high) == (None, None)
    assert judge([one], own, {"foreign": own.bits}, LIMIT).verdict == "unclear"


def test_bits_a_token_have_a_verdict_of_their_own() -> None:
    """Long answers can hold half of what there is, though hardly a token depends on a reasoning."""
    rng = np.random.default_rng(2)
    questions = [sampled_question(rng, 0.45, length=6, told_length=900) for _ in range(120)]
    own = summary(questions)
    margins = {"foreign": own.bits}
    assert judge(questions, own, margins, LIMIT).verdict == "input"
    assert judge_per_token(questions, own, margins).verdict == "output"
    short = [replace(one, tokens=np.full(len(one.own), 6)) for one in questions]
    assert judge_per_token(short, summary(short), margins).verdict == "input"


def test_bits_a_token_are_not_called_little_where_log2_k_cuts_them() -> None:
    long = deciding(100, length=5000)
    own = summary(long)
    assert own.per_token.value < WORTH_OF_TOKEN
    found = judge_per_token(long, own, {})
    assert found.verdict == "unclear"
    assert found.missing == (Lack("ceiling", 4),)


def test_bounds_of_equal_values_are_the_exact_binomial_ones() -> None:
    for n in (8, 30, 100):
        exact = stats.binomtest(0, n).proportion_ci(0.90, method="exact").high
        assert upper_bound(np.zeros(n), 1.0) == pytest.approx(exact, rel=0.01)
        assert lower_bound(np.ones(n), 0.0) == pytest.approx(1 - exact, abs=0.001)
    found = bounded_mean(np.zeros(40), 0.0, 1.0)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0 < found.high < 0.1


def test_a_bound_is_never_tighter_than_students() -> None:
    rng = np.random.default_rng(3)
    for n in (3, 8, 50):
        values = rng.normal(0, 0.1, n)
        error = values.std(ddof=1) / np.sqrt(n)
        student = values.mean() + stats.t.ppf(0.95, n - 1) * error
        assert upper_bound(values, 1.0) >= student - 1e-12


@pytest.mark.parametrize("n_questions", [8, 30, 80])
def test_verdicts_are_wrong_no_more_often_than_they_say(n_questions: int) -> None:
    """A part of the table in docs/reasoning-score.md; ``make soak`` repeats all of it."""
    at_limit = rates(Case("even", 1.0), n_questions, n_runs=25)
    assert at_limit["input"] + at_limit["output"] <= 0.1 + 0.05
    double = rates(Case("few", 2.0), n_questions, n_runs=25)
    assert double["output"] <= 0.05
    nothing = rates(Case("even", 0.0), n_questions, n_runs=10)
    assert nothing["input"] == 0
    assert nothing["output"] == (1.0 if n_questions == 80 else 0.0)


def test_effects_of_the_simulation_are_what_they_are_called() -> None:
    rng = np.random.default_rng(4)
    for effect, strength in EFFECTS.items():
        questions = [sampled_question(rng, strength, n_answers=8) for _ in range(1500)]
        shares = np.array([bits(one) / one.limit for one in questions])
        assert shares.mean() / WORTH == pytest.approx(effect, abs=0.12)


def test_limits_are_stated() -> None:
    assert (WORTH, FEWEST_QUESTIONS, DIFFERENT) == (0.05, 30, 0.3)


@pytest.mark.soak
@pytest.mark.parametrize("n_questions", [8, 30, 100])
def test_error_rates_of_verdicts_hold_over_many_runs(n_questions: int) -> None:
    for shape in ("even", "few"):
        for effect in (1.0, 2.0):
            found = rates(Case(shape, effect), n_questions, n_runs=250)
            assert found["output"] <= 0.075
            if effect == 1.0:
                assert found["input"] <= 0.075
    for case in (Case("alike", 0.0), Case("cold", 0.0), Case("cold", 2.0)):
        assert rates(case, n_questions, n_runs=200)["output"] == 0
