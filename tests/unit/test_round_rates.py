"""How often a round is kept, and how often its intervals hold the truth: simulated.

The tables of docs/rounds.md are what the soak tests print (``SEED``, ``RUNS``):

    pytest -m soak -s tests/unit/test_round_rates.py
"""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit

from tests.unit.verdict_lab import OWN, Values, comparison
from workbench.rounds.evidence import POWER
from workbench.rounds.spec import Comparing
from workbench.rounds.text import settled_of
from workbench.rounds.verdict import propose
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.samples import PairedSample, PointsSample

SEED = 20_240
RUNS = 2_000
Array = np.ndarray
ASKED = Comparing(well_formed=0.8)
"""Low enough to leave the decision to the changes."""


@dataclass(frozen=True)
class Truth:
    """What is true of a round: shares of questions won and lost, and the change of the loss."""

    lost: float = 0.01
    won: float = 0.01
    clean_lost: float | None = None
    """Where only the outputs without a finding fell; they win nothing then."""
    loss: float = 0.0
    """Nats a token."""


UNCHANGED = Truth()
UNSTABLE = Truth(lost=0.04, won=0.04)
FALL = Truth(clean_lost=0.1)
FALL_OF_ALL = Truth(lost=0.1, won=0.0)
LOSS = Truth(loss=0.05)


def share_pair(
    random: np.random.Generator, n: int, lost: float, won: float, before: float = 0.95
) -> tuple[Array, Array]:
    """Return a share before and after: ``lost`` and ``won`` are of all questions."""
    had = random.random(n) < before
    drawn = random.random(n)
    after = np.where(had, drawn >= lost / before, drawn < won / (1 - before))
    return had.astype(float), after.astype(float)


def values(random: np.random.Generator, n: int, truth: Truth) -> Values:
    """Return the measures that all rounds have, of ``n`` questions."""
    loss = random.normal(1.5, 0.4, n)
    told = share_pair(random, n, truth.lost, truth.won)
    clean = (truth.lost, truth.won) if truth.clean_lost is None else (truth.clean_lost, 0.0)
    return {
        "well_formed": share_pair(random, n, truth.lost, truth.won),
        "stopped": told,
        "clean": share_pair(random, n, *clean),
        "reasonings": texts_of(random, n),
        "answers": texts_of(random, n),
        "dont_know_answerable": (1 - told[0], 1 - told[1]),
        "held_out_loss": (loss, loss + random.normal(truth.loss, 0.1, n)),
    }


def texts_of(random: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Return how many of three texts differ, before and after, without a change on average."""
    return random.uniform(1, 3, n), random.uniform(1, 3, n)


def verdicts(n: int, truth: Truth, runs: int, *, people: float | None = None) -> dict[str, float]:
    """Return how often each verdict is given; ``people``: true share of points of one rater."""
    random = np.random.default_rng([SEED, n])
    counts: dict[str, float] = {}
    for _ in range(runs):
        sample = None
        if people is not None:
            points = (random.random(n) < people).astype(float)
            sample = PointsSample(
                question=tuple(range(n)), rater=(0,) * n, points=tuple(map(float, points))
            )
        found = propose(comparison(values(random, n, truth), people=sample), OWN, ASKED)
        counts[found.verdict] = counts.get(found.verdict, 0) + 1 / runs
    return counts


def kept(n: int, truth: Truth, runs: int, *, people: float | None = None) -> float:
    return verdicts(n, truth, runs, people=people).get("keep", 0.0)


def test_a_fall_of_ten_points_is_not_kept_and_no_change_is_with_enough_questions() -> None:
    assert kept(40, FALL, 200) <= 0.05
    assert kept(40, LOSS, 200) <= 0.05
    assert kept(200, UNCHANGED, 60) >= POWER
    assert verdicts(40, UNCHANGED, 60)["not_enough_questions"] > 0.5


def test_the_number_of_questions_that_would_do_would() -> None:
    assert kept_with_the_number_told(60) >= POWER - 0.15


def kept_with_the_number_told(runs: int) -> float:
    """Return how often a round without any change is kept with as many questions as it was told
    would do after 40."""
    random = np.random.default_rng(SEED)
    n_kept = 0
    for _ in range(runs):
        first = propose(comparison(values(random, 40, UNSTABLE)), OWN, ASKED)
        needed = max(
            (one.n_needed or 40 for one in settled_of(first.findings) if one.outcome == "open"),
            default=40,
        )
        second = propose(comparison(values(random, needed, UNSTABLE)), OWN, ASKED)
        n_kept += second.verdict == "keep"
    return n_kept / runs


@pytest.mark.soak
def test_table_of_verdicts() -> None:
    """Type I error and power by number of questions."""
    kinds: list[tuple[str, Truth, float | None, bool]] = [
        ("no change, 2 % of questions differ", UNCHANGED, None, False),
        ("no change, 8 % of questions differ", UNSTABLE, None, False),
        ("no change, and people find neither better", UNCHANGED, 0.5, False),
        ("`clean` falls by 10 points", FALL, None, True),
        ("all shares fall by 10 points", FALL_OF_ALL, None, True),
        ("held-out loss rises by 0.05", LOSS, None, True),
        ("people give it 35 % of the points", UNCHANGED, 0.35, True),
    ]
    sys.stdout.write("\n| truth | questions | keep | not enough | branch | drop |\n")
    for name, truth, people, is_harm in kinds:
        for n in (40, 80, 120, 200, 400):
            found = verdicts(n, truth, RUNS // 2, people=people)
            row = [found.get(v, 0.0) for v in ("keep", "not_enough_questions", "branch", "drop")]
            sys.stdout.write(f"| {name} | {n} | {' | '.join(f'{one:.3f}' for one in row)} |\n")
            if is_harm:
                assert row[0] <= 0.05, (name, n)
        if not is_harm:
            assert row[0] >= POWER, name


@pytest.mark.soak
def test_the_number_of_questions_that_would_do_would_in_many_repetitions() -> None:
    found = kept_with_the_number_told(1_000)
    sys.stdout.write(f"\nkept with the number of questions told: {found:.3f}\n")
    assert found >= POWER - 0.05


CHANGES: dict[str, tuple[float, float, float]] = {
    "none": (0.97, 0.0, 0.0),
    "rare": (0.97, 0.02, 0.01),
    "fall of 10 points": (0.95, 0.10, 0.0),
    "common": (0.6, 0.20, 0.15),
    "fall of 40 points": (0.6, 0.5, 0.1),
}
"""Share before, lost and won."""


def coverage(n: int, change: str, texts: int, runs: int) -> tuple[float, float]:
    """Return how often the interval holds the true change, and its mean width."""
    before, lost, won = CHANGES[change]
    random = np.random.default_rng([SEED, n, texts])
    held, width = 0, 0.0
    for _ in range(runs):
        if texts == 1:
            pair = share_pair(random, n, lost, won, before)
        else:  # questions differ in how likely they are to be right, and stay as they are
            ease = random.beta(2 * before, 2 * (1 - before), n)
            moved = ease * (1 - lost / before) + (1 - ease) * won / (1 - before)
            pair = (random.binomial(texts, ease) / texts, random.binomial(texts, moved) / texts)
        found = PairedSample(before=tuple(pair[0]), after=tuple(pair[1]), is_share=True).interval()
        assert found.low is not None
        assert found.high is not None
        held += found.low <= won - lost <= found.high
        width += (found.high - found.low) / runs
    return held / runs, width


def test_intervals_of_changes_hold_the_truth() -> None:
    for change in ("rare", "fall of 10 points", "common"):
        assert coverage(40, change, 1, 300)[0] >= 0.92, change


@pytest.mark.soak
def test_table_of_the_coverage_of_changes() -> None:
    sys.stdout.write("\n| change | texts | questions | holds the truth | mean width |\n")
    for change in CHANGES:
        for texts in (1, 3):
            for n in (10, 40, 200):
                rate, width = coverage(n, change, texts, RUNS)
                sys.stdout.write(f"| {change} | {texts} | {n} | {rate:.3f} | {width:.2f} |\n")
                assert rate >= 0.93, (change, texts, n)


def coverage_of_points(n: int, raters: int, each: int, runs: int) -> float:
    """Return how often the interval of the share of points holds that of all raters.

    With fewer than five raters it is to hold that of these raters, over all questions. Raters
    differ in how far they prefer the model (SD 0.5 logit), questions too (SD 1); each question is
    judged by ``each`` of the raters.
    """
    random = np.random.default_rng([SEED, n, raters, each])
    held = 0
    for _ in range(runs):
        taste = 0.3 + random.normal(0, 0.5, raters)
        truth = share_of_points(taste if raters < MIN_RATERS else np.array([0.3]), raters)
        chance = expit(taste[None, :] + random.normal(0, 1.0, n)[:, None])
        won = random.random((n, raters)) < chance
        who = random.random((n, raters)).argsort(axis=1)[:, :each]
        question = np.repeat(np.arange(n), each)
        sample = PointsSample(
            question=tuple(question),
            rater=tuple(who.ravel()),
            points=tuple(won[question, who.ravel()].astype(float)),
        )
        found = sample.interval()
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    return held / runs


def share_of_points(taste: Array, raters: int) -> float:
    """Return the true share of points over all questions, and all raters where these are enough."""
    sd = 1.0 if raters < MIN_RATERS else float(np.hypot(1.0, 0.5))
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    each = expit(taste[:, None] + sd * nodes) @ weights / weights.sum()
    return float(each.mean())


def test_points_of_enough_raters_hold_those_of_other_raters() -> None:
    assert coverage_of_points(200, 8, 8, 120) >= 0.89


@pytest.mark.soak
def test_table_of_the_coverage_of_blind_comparisons() -> None:
    sys.stdout.write("\n| raters | of a question | questions | holds the truth |\n")
    for raters, each in ((3, 3), (5, 5), (8, 2), (8, 8)):
        for n in (10, 40, 200):
            rate = coverage_of_points(n, raters, each, RUNS)
            sys.stdout.write(f"| {raters} | {each} | {n} | {rate:.3f} |\n")
            assert rate >= 0.92, (raters, each, n)
