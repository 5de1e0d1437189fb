"""Simulated ratings whose truth is known: raters of different taste, cards of either sampler.

``python -m benchmarks.interval_coverage [RUNS [QUESTIONS ...]]`` prints the table of
docs/insights.md; each run has its own seed, counted from 0.
"""

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from workbench.insights.effects import value_effects
from workbench.insights.ranking import rank_levels, strengths
from workbench.rating.sampling import N_CANDIDATES, PointsRecord, gain
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.intervals import Array, Estimate

EFFECTS = np.array([0.6, 0.0, -0.6])
LEVELS = np.repeat([0, 1, 2], 2)
"""Two texts of each of three levels for every question."""
BY_QUESTION, BY_TEXT, BY_RATER = 0.6, 0.6, 0.5
"""How far strengths differ: of a level by question, of its texts, and of a level by rater."""
PAIRS = np.array([(i, j) for i in range(6) for j in range(i + 1, 6)])
PER_QUESTION = 6
"""Comparisons, each by one rater."""


@dataclass(frozen=True)
class World:
    """What is true."""

    quality: Array
    """(questions, texts)"""
    taste: Array
    """(raters, levels)"""


def world(random: np.random.Generator, n_questions: int, n_raters: int) -> World:
    """Draw questions, their texts, and raters."""
    by_level = EFFECTS + random.normal(0, BY_QUESTION, (n_questions, 3))
    quality = by_level[:, LEVELS] + random.normal(0, BY_TEXT, (n_questions, 6))
    return World(quality, random.normal(0, BY_RATER, (n_raters, 3)))


def dealt_at_random(random: np.random.Generator, made: World) -> pd.DataFrame:
    """Return comparisons of any pairs."""
    n_questions, n_raters = len(made.quality), len(made.taste)
    n = PER_QUESTION * n_questions
    chosen = random.permutation(len(PAIRS) * n_questions)[:n]
    question, pair = np.divmod(chosen, len(PAIRS))
    rater = random.integers(n_raters, size=n)
    won = random.random(n) < _chances(made, question, rater, *PAIRS[pair].T)
    return table(question, rater, *PAIRS[pair].T, won)


def dealt_by_gain(random: np.random.Generator, made: World) -> pd.DataFrame:
    """Choose as the informative sampler does: the highest gain among the candidates of a window."""
    n_questions, n_raters = len(made.quality), len(made.taste)
    items = [(q, i, j) for q in range(n_questions) for i, j in PAIRS.tolist()]
    items = [items[place] for place in random.permutation(len(items))]
    records = {(q, i): PointsRecord() for q in range(n_questions) for i in range(6)}
    rows = []
    for _ in range(PER_QUESTION * n_questions):
        start = int(random.integers(len(items)))
        window = [(start + step) % len(items) for step in range(min(N_CANDIDATES, len(items)))]
        gains = [
            gain(records[items[w][0], items[w][1]], records[items[w][0], items[w][2]])
            for w in window
        ]
        q, i, j = items.pop(window[int(np.argmax(gains))])
        rater = int(random.integers(n_raters))
        won = float(random.random() < _chances(made, q, rater, i, j))
        for text, points in ((i, won), (j, 1 - won)):
            records[q, text].points += points
            records[q, text].n += 1
        rows.append((q, rater, i, j, won))
    return table(*(np.array(column) for column in zip(*rows, strict=True)))


def _chances(made: World, question: Array, rater: Array, i: Array, j: Array) -> Array:
    lead = made.quality[question, i] - made.quality[question, j]
    return np.asarray(expit(lead + made.taste[rater, LEVELS[i]] - made.taste[rater, LEVELS[j]]))


def table(question: Array, rater: Array, i: Array, j: Array, won: Array) -> pd.DataFrame:
    """Return comparisons as ``workbench.stats.comparisons``; arrays are (comparisons,)."""
    return pd.DataFrame(
        {
            "question_id": question,
            "rater_id": rater,
            "a": question * 6 + i,
            "b": question * 6 + j,
            "format_a": LEVELS[i].astype(str),
            "format_b": LEVELS[j].astype(str),
            "points": np.asarray(won, dtype=float),
        }
    )


def valued(random: np.random.Generator, made: World) -> pd.DataFrame:
    """Return values on an axis: all texts of a question, each by one rater."""
    n_questions, n_raters = len(made.quality), len(made.taste)
    question = np.repeat(np.arange(n_questions), PER_QUESTION)
    text = np.tile(np.arange(6), n_questions)
    rater = random.integers(n_raters, size=len(text))
    value = made.quality[question, text] + made.taste[rater, LEVELS[text]]
    return pd.DataFrame(
        {
            "question_id": question,
            "rater_id": rater,
            "format": LEVELS[text].astype(str),
            "value": value + random.normal(0, 0.5, len(text)),
        }
    )


def true_strengths(taste: Array | None) -> Array:
    """Return what any number of questions would come to: with these raters, or with any."""
    random = np.random.default_rng(1)
    n = 40_000
    quality = world(random, n, 1).quality
    tastes = (
        random.normal(0, BY_RATER, (n, 3)) if taste is None else taste[np.arange(n) % len(taste)]
    )
    points = np.zeros((3, 3))
    for i, j in PAIRS:
        a, b = LEVELS[i], LEVELS[j]
        if a != b:
            lead = quality[:, i] - quality[:, j] + tastes[:, a] - tastes[:, b]
            points[a, b] += expit(lead).mean()
            points[b, a] += expit(-lead).mean()
    return strengths(points * 1e6)


@dataclass
class Hits:
    """How many intervals held the truth."""

    held: int = 0
    n: int = 0
    width: float = 0.0

    def add(self, found: Estimate, truth: float) -> None:
        """Count one interval."""
        assert found.low is not None
        assert found.high is not None
        self.held += int(found.low <= truth <= found.high)
        self.n += 1
        self.width += found.high - found.low

    @property
    def rate(self) -> float:
        """Share of intervals that held it."""
        return self.held / self.n

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} % ({self.width / self.n:.2f})"


def coverage(n_questions: int, n_raters: int, *, adaptive: bool, runs: int) -> Hits:
    """Return how often intervals of a ranking hold the truth.

    That of fewer than five raters is what these come to with any questions; that of more, what any
    raters come to.
    """
    any_raters = true_strengths(None)
    hits = Hits()
    for seed in range(runs):
        random = np.random.default_rng(seed)
        made = world(random, n_questions, n_raters)
        pairs = (dealt_by_gain if adaptive else dealt_at_random)(random, made)
        truth = any_raters
        if n_raters < MIN_RATERS:
            truth = true_strengths(made.taste)
            # Each rater's own ranking, which takes most of the time, is not asked for.
            pairs = pairs.drop(columns="rater_id")
        ranking = rank_levels(pairs, "format")
        assert ranking is not None
        for place in ranking.places:
            hits.add(place.share, float(expit(truth[int(place.name)])))
    return hits


def value_coverage(n_questions: int, n_raters: int, *, runs: int) -> Hits:
    """Return the same of effects on an axis."""
    hits = Hits()
    for seed in range(runs):
        random = np.random.default_rng([seed, 1])
        made = world(random, n_questions, n_raters)
        found = value_effects(valued(random, made), "clear", ["format"])
        assert found is not None
        truth = EFFECTS + (made.taste.mean(axis=0) if n_raters < MIN_RATERS else 0)
        for one in found.effects:
            hits.add(one.change, float((truth - truth.mean())[int(one.level)]))
    return hits


def main() -> None:
    """Print a row for each number of questions and of raters: cards of both kinds, and values."""
    runs, *questions = (int(word) for word in sys.argv[1:]) if len(sys.argv) > 1 else (100,)
    print(
        f"{runs} runs, seeds 0 to {runs - 1}: share of intervals that hold the truth (mean width)"
    )
    print("| questions | raters | any card | the one that teaches most | values |")
    for n_questions in questions or (10, 40, 200):
        for n_raters in (1, 3, 8):
            found = [
                coverage(n_questions, n_raters, adaptive=adaptive, runs=runs)
                for adaptive in (False, True)
            ]
            found.append(value_coverage(n_questions, n_raters, runs=runs))
            told = " | ".join(str(hits) for hits in found)
            print(f"| {n_questions} | {n_raters} | {told} |", flush=True)


if __name__ == "__main__":
    main()
