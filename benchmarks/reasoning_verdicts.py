"""Simulated reasoning scores of known effects: intervals that hold them, and verdicts said.

    python -m benchmarks.reasoning_verdicts [intervals]

prints the tables of docs/reasoning-score.md (seed 13; some minutes on one core).
"""

import sys
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from workbench.insights.reasoning_verdict import judge
from workbench.stats.influence import (
    Scored,
    bits,
    bits_by_question,
    margin,
    margins_of,
    summary,
)
from workbench.stats.intervals import bounded_mean

SEED = 13
K = 4
LIMIT = float(np.log2(K))
N_WORDS = 6
EFFECTS = {0.0: 0.0, 0.5: 0.15, 1.0: 0.215, 2.0: 0.31}
"""Effect in units of the limit (5 % of log2(k)) → strength of the simulated language."""
SHOWN = ("input", "words", "input_unsorted", "output", "unclear")

Shape = Literal["even", "few", "alike", "cold"]


@dataclass(frozen=True, slots=True)
class Case:
    """What is simulated."""

    shape: Shape
    """``even``: every question has the effect. ``few``: a few have all that there can be, the
    others none. ``alike``: reasonings that are 99 % alike. ``cold``: as ``even``, answers drawn at
    temperature 0.5."""
    effect: float
    """In units of the limit."""


def sampled_question(
    rng: np.random.Generator,
    strength: float,
    *,
    n_answers: int = 2,
    length: int = 5,
    told_length: int | None = None,
    temperature: float = 1.0,
    difference: float = 0.9,
) -> Scored:
    """Return answers drawn under each of four reasonings, scored under all of them."""
    logits = rng.normal(0, strength, (K, N_WORDS))
    words = logits - logsumexp(logits, axis=1, keepdims=True)
    own = np.repeat(np.arange(K), n_answers)
    drawn = words / temperature
    drawn = np.exp(drawn - logsumexp(drawn, axis=1, keepdims=True))
    steps = drawn.cumsum(axis=1)[own][:, None, :]
    answers = (rng.random((len(own), length, 1)) > steps).sum(axis=2).clip(max=N_WORDS - 1)
    return Scored(
        words.T[answers].sum(axis=1),
        own,
        np.full(len(own), told_length or length),
        is_as_scored=temperature == 1.0,
        difference=difference,
    )


def _foreign(rng: np.random.Generator, one: Scored) -> Scored:
    """Return the same answers under reasonings of another question: fits that tell nothing."""
    fits = rng.normal(0, 0.5, one.log_probs.shape[1])
    noise = rng.normal(0, 0.1, one.log_probs.shape)
    return Scored(one.log_probs.mean(axis=1, keepdims=True) + fits + noise, one.own, one.tokens)


def _questions(rng: np.random.Generator, case: Case, n: int) -> list[Scored]:
    if case.shape == "few":
        decided = rng.random(n) < 0.05 * case.effect
        return [_decided(rng) if one else sampled_question(rng, 0.0) for one in decided]
    return [
        sampled_question(
            rng,
            EFFECTS[case.effect],
            temperature=0.5 if case.shape == "cold" else 1.0,
            difference=0.01 if case.shape == "alike" else 0.9,
        )
        for _ in range(n)
    ]


def _decided(rng: np.random.Generator) -> Scored:
    one = sampled_question(rng, 0.0)
    certain = np.where(np.arange(K) == one.own[:, None], -5.0, -60.0)
    return Scored(certain, one.own, one.tokens, is_as_scored=True, difference=0.9)


def rates(case: Case, n_questions: int, n_runs: int, seed: int = SEED) -> Counter[str]:
    """Return the share of runs in which each verdict is said."""
    rng = np.random.default_rng(seed)
    told: Counter[str] = Counter()
    for _ in range(n_runs):
        questions = _questions(rng, case, n_questions)
        own = summary(questions)
        of_own = dict(enumerate(own.by_question))
        of_foreign = dict(enumerate(bits_by_question([_foreign(rng, one) for one in questions])))
        above = margin(of_own, of_foreign, LIMIT)
        assert above is not None
        differences = {"foreign": margins_of(of_own, of_foreign)}
        found = judge(questions, own, {"foreign": above}, LIMIT, differences)
        told[found.verdict] += 1
    return Counter({name: told[name] / n_runs for name in SHOWN})


def coverage(strength: float, n_questions: int, n_runs: int, seed: int = SEED) -> tuple[float, ...]:
    """Return the true bits, the mean of estimates, and the share of intervals with the truth."""
    rng = np.random.default_rng(seed)
    many = [sampled_question(rng, strength, n_answers=8) for _ in range(4000)]
    truth = float(np.mean([bits(one) for one in many]))
    found = [
        bounded_mean(
            bits_by_question([sampled_question(rng, strength) for _ in range(n_questions)]),
            0.0,
            LIMIT,
        )
        for _ in range(n_runs)
    ]
    held = [one.low <= truth <= one.high for one in found if one.low is not None and one.high]
    return truth, float(np.mean([one.value for one in found])), sum(held) / n_runs


def print_intervals(n_runs: int = 400) -> None:
    """Print the table of intervals."""
    for strength in (0.31, 0.8, 1.4):
        for n_questions in (8, 30, 100):
            truth, value, held = coverage(strength, n_questions, n_runs)
            told = f"| {truth:.2f} | {n_questions} | {value:.2f} | {100 * held:.1f} % |"
            print(told, flush=True)


def print_verdicts(n_runs: int = 200) -> None:
    """Print the table of verdicts."""
    cases = [Case(shape, effect) for shape in ("even", "few") for effect in EFFECTS]
    cases += [Case("alike", 0.0), Case("cold", 0.0), Case("cold", 2.0)]
    print("| effects | size | questions | only an output | an input | not clear yet |")
    print("|---|---:|---:|---:|---:|---:|")
    for case in cases:
        if case == Case("few", 0.0):
            continue
        for n_questions in (8, 30, 100):
            found = rates(case, n_questions, n_runs)
            shares = (found["output"], found["input"], found["unclear"])
            told = " | ".join(f"{100 * one:.1f} %" for one in shares)
            print(f"| {case.shape} | {case.effect:g} | {n_questions} | {told} |", flush=True)


if __name__ == "__main__":
    if "intervals" in sys.argv[1:]:
        print_intervals()
    else:
        print_verdicts()
