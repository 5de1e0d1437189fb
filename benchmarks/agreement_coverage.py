"""Simulated sides and agreement of known truth: how often their intervals hold it.

``python -m benchmarks.agreement_coverage [RUNS]`` prints the table of docs/insights.md; each run
has its own seed, counted from 0.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from workbench.insights import report
from workbench.insights.agreement import agreement
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.intervals import Array, Estimate

LEAN = 0.5
"""How far raters differ in what a side draws them, in logits."""
KNOWS, KNOWS_VARIES = 0.6, 0.2
"""Chance that a rater knows what is true, and how far raters differ in it."""
N_VALUES = 3
"""Outcomes among which a rater who does not know guesses."""
PER_QUESTION = 5


class Found(NamedTuple):
    """Intervals of one run, each with what is true."""

    side: tuple[Estimate, float]
    alpha: tuple[Estimate, float]
    same: tuple[Estimate, float]


def simulated(n_questions: int, n_raters: int, seed: int) -> Found:
    """Return the figures of one set of ratings.

    True is what any raters come to, or, of fewer than ``MIN_RATERS``, what these do.
    """
    random = np.random.default_rng(seed)
    question = np.repeat(np.arange(n_questions), PER_QUESTION)
    return Found(_side(random, question, n_raters), *_agreement(random, question, n_raters))


def _side(random: np.random.Generator, question: Array, n_raters: int) -> tuple[Estimate, float]:
    lean = random.normal(0, LEAN, n_raters)
    rater = random.integers(n_raters, size=len(question))
    left = (random.random(len(question)) < expit(lean[rater])).astype(float)
    table = pd.DataFrame(
        {"question_id": question, "rater_id": rater, "points": left, "a_left": 1.0}
    )
    truth = 0.5 if n_raters >= MIN_RATERS else float(expit(lean).mean())
    return report.position(table)[0].share, truth


def _agreement(
    random: np.random.Generator, question: Array, n_raters: int
) -> tuple[tuple[Estimate, float], tuple[Estimate, float]]:
    """Return alpha and the share of equal judgements.

    Two raters are equal in p·q + (1 - p·q) / 3 of the cases, chance gives 1/3: alpha is E[p·q].
    """
    knows = np.clip(random.normal(KNOWS, KNOWS_VARIES, n_raters), 0.05, 0.95)
    n = len(question)
    pair = np.array([random.choice(n_raters, 2, replace=False) for _ in range(n)])
    true = random.integers(N_VALUES, size=n)
    parts = []
    for rater in pair.T:
        guess = random.integers(N_VALUES, size=n)
        value = np.where(random.random(n) < knows[rater], true, guess)
        parts.append(
            pd.DataFrame(
                {
                    "unit": np.arange(n),
                    "observer": rater,
                    "rater_id": rater,
                    "question_id": question,
                    "value": value,
                }
            )
        )
    found = agreement(pd.concat(parts), "any", "nominal")
    assert found is not None
    assert found.alpha is not None
    truth = _mean_known() ** 2
    if n_raters < MIN_RATERS:
        truth = float((knows.sum() ** 2 - (knows**2).sum()) / (n_raters * (n_raters - 1)))
    return (found.alpha, truth), (found.same, truth + (1 - truth) / N_VALUES)


def _mean_known() -> float:
    drawn = np.random.default_rng(0).normal(KNOWS, KNOWS_VARIES, 200_000)
    return float(np.clip(drawn, 0.05, 0.95).mean())


def coverage(n_questions: int, n_raters: int, n_runs: int) -> tuple[float, float, float]:
    """Return the shares of runs whose intervals of side, alpha and equal judgements hold."""
    runs = [simulated(n_questions, n_raters, seed) for seed in range(n_runs)]
    side, alpha, same = (
        float(np.mean([_holds(*choose(run)) for run in runs])) for choose in _FIGURES
    )
    return side, alpha, same


def _holds(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


_FIGURES: tuple[Callable[[Found], tuple[Estimate, float]], ...] = (
    lambda run: run.side,
    lambda run: run.alpha,
    lambda run: run.same,
)


def main(n_runs: int = 300) -> None:
    """Print the table."""
    print("| questions | raters | left text won | alpha | equal judgements |")
    print("|---:|---:|---:|---:|---:|")
    for n_questions in (10, 40, 200):
        for n_raters in (3, 5, 8):
            shares = coverage(n_questions, n_raters, n_runs)
            cells = " | ".join(f"{100 * one:.1f} %" for one in shares)
            print(f"| {n_questions} | {n_raters} | {cells} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
