"""How much an answer tells which reasoning it was written under, in bits.

One question has k reasonings r and answers y, each written under one of them (its own). The score
is the mean over reasonings, and over the answers under each, of

    log2 p(y | own r)  -  log2 mean over all k of p(y | r).

This is the mutual information of reasoning and answer where the k reasonings are all there are,
each as likely: 0 where answers tell nothing of their reasoning, log2(k) where each gives its
reasoning away. It is the contrastive bound of van den Oord et al. 2018 (arXiv:1807.03748) with the
model's own density in place of a learned critic (Poole et al. 2019, arXiv:1905.06922, section 2.4).

- Where answers were drawn from the very distribution that scores them (temperature 1, nothing cut
  off), the mean is unbiased for these k reasonings.
- Everything else (another temperature, top-p, a person's answer, a control in a reasoning's place)
  makes the expected value smaller, never larger: the model's posterior over reasonings is then not
  the true one, and a wrong posterior loses bits (Barber and Agakov, 2003).
- It never exceeds log2(k), so for all reasonings that could be written it is a lower bound.

A wrong posterior can be sure of itself, which makes a bound of less than nothing. So posteriors are
flattened: ``p(y | r)`` is taken to a power, from 0 (every reasoning alike: 0 bits) to 1 (as it is).
The power of a question is the one that serves all *other* questions best, so that it is chosen
without a look at the question itself and the bound holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from db.texts.scores import ControlKind, Score, ScoreKey
from serving.scoring.pairs import AnswerGroup
from workbench.stats.diversity import mean_difference, similarity
from workbench.stats.intervals import SEED, Array, Estimate, bounded_mean, mean

POWERS = np.concatenate([[0.0], np.geomspace(1 / 1024, 1.0, 21)])
N_PERMUTATIONS = 999
OWN: Final = "own"
"""The kind of score of answers under the reasonings themselves, beside those of controls."""

ScoreKind = Literal["own"] | ControlKind
Known = Mapping[ScoreKey, Score]


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers of one question under its reasonings, or under their controls."""

    log_probs: Array
    """Natural logarithms: shape (answers, k)."""
    own: Array
    """Column of the reasoning that each answer was written under: shape (answers,)."""
    tokens: Array
    """Length of each answer: shape (answers,)."""
    is_as_scored: bool = False
    """All answers were drawn from what scores them: by this model from this prompt at temperature
    1, nothing left out, added or cut off."""
    difference: float = 0.0
    """How different two of the reasonings are on average, 0 to 1."""

    @property
    def mean_tokens(self) -> float:
        """The mean length of answers, reasonings counted alike."""
        return float(self.weights @ self.tokens)

    @property
    def limit(self) -> float:
        """The most bits that there can be: log2(k)."""
        return float(np.log2(self.log_probs.shape[1]))

    @property
    def weights(self) -> Array:
        """Weight of each answer: reasonings count alike, however many answers they have."""
        n_under = np.bincount(self.own, minlength=self.log_probs.shape[1])
        return np.asarray(1.0 / (np.count_nonzero(n_under) * n_under[self.own]))


def by_level(groups: Sequence[AnswerGroup]) -> list[list[AnswerGroup]]:
    """Return what is scored together of each model, role, prompt format and sampling."""
    levels: defaultdict[tuple[int, ...], list[AnswerGroup]] = defaultdict(list)
    for group in groups:
        level = (group.model_id, group.role_id, group.format_id, group.sampling_id or 0)
        levels[level].append(group)
    return [own for _, own in sorted(levels.items())]


def scored_questions(
    groups: Iterable[AnswerGroup],
    known: Known,
    kind: ScoreKind = OWN,
    *,
    is_unmodified: bool = False,
) -> dict[int, Scored]:
    """Return the answers of each question that have a score under all its reasonings.

    Args:
        groups: Answers to different questions, each under two reasonings or more.
        known: The scores that there are.
        kind: ``own``, or the kind of the controls that stand in for the reasonings.
        is_unmodified: Answers were drawn at temperature 1 with nothing left out.
    """
    found = {}
    for group in groups:
        under = group.reasonings if kind == OWN else group.controls[kind]
        rows = [
            (answer, [known.get(group.key(answer, one, withheld=False)) for one in under])
            for answer in group.answers
            if None not in under
        ]
        complete = [
            (answer, [one.log_prob for one in row if one], row[0])
            for answer, row in rows
            if all(one is not None and one.log_prob is not None for one in row)
        ]
        # An answer without a score would leave its reasoning without weight.
        if complete and {answer.own for answer, _, _ in complete} == set(range(len(under))):
            found[group.question.id] = Scored(
                np.array([log_probs for _, log_probs, _ in complete], dtype=float),
                np.array([answer.own for answer, _, _ in complete]),
                np.array([first.n_tokens if first else 0 for _, _, first in complete]),
                is_as_scored=is_unmodified
                and all(one.is_separate and one.is_ended for one in group.answers),
                difference=mean_difference(similarity([one.text for one in under if one])),
            )
    return found


def bits(scored: Scored, power: float = 1.0) -> float:
    """Return the score of one question in bits, from minus infinity to ``scored.limit``."""
    return float(_bits_at(scored, np.array([power]))[0])


def _bits_at(scored: Scored, powers: Array) -> Array:
    """Return the score of one question at each of ``powers``: shape (powers,)."""
    scaled = powers[:, None, None] * scored.log_probs
    highest = scaled.max(axis=2, keepdims=True)
    total = np.log(np.exp(scaled - highest).sum(axis=2)) + highest[:, :, 0]
    gain = scaled[:, np.arange(len(scored.own)), scored.own] - total
    return np.asarray(gain @ scored.weights / np.log(2) + scored.limit)


def bits_by_question(questions: Sequence[Scored]) -> Array:
    """Return the score of each question, at the power that serves the others best: shape (n,).

    A single question has no others: the power is 1.
    """
    if len(questions) < 2:
        return np.array([bits(one) for one in questions])
    at = np.array([_bits_at(one, POWERS) for one in questions])
    of_others = at.sum(axis=0) - at
    return np.asarray(at[np.arange(len(questions)), of_others.argmax(axis=1)])


def permutation_p(questions: Sequence[Scored], n: int = N_PERMUTATIONS, seed: int = SEED) -> float:
    """Return how often answers dealt to reasonings by lot look as fitting as the real ones.

    Within each question the answers are dealt anew; the statistic is how much likelier answers are
    under their own reasoning than under the others, each question on a scale of its own. The real
    dealing counts as one of them (Phipson and Smyth, 2010), so that the least value is 1 / (n + 1).
    """
    random = np.random.default_rng(seed)
    real, permuted = 0.0, np.zeros(n)
    for one in questions:
        centred = one.log_probs - one.log_probs.mean(axis=1, keepdims=True)
        scale = centred.std()
        if scale < 1e-12:
            continue
        fit = centred / scale
        rows = np.arange(len(one.own))
        order = random.permuted(np.tile(rows, (n, 1)), axis=1)
        real += float(one.weights @ fit[rows, one.own])
        permuted += (fit[rows, one.own[order]] * one.weights[order]).sum(axis=1)
    return float((1 + np.count_nonzero(permuted >= real - 1e-9)) / (n + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """The score of one kind of reasoning over questions."""

    bits: Estimate
    by_question: tuple[float, ...]
    untempered: float
    """The mean with every power at 1, as in the formula above."""
    per_token: Estimate
    """Bits for each token of an answer."""
    mean_tokens: float
    """Of an answer."""
    p: float
    """By permutation: how likely so good a fit is by chance."""


def summary(questions: Sequence[Scored]) -> Bits:
    """Return the score over ``questions``, at least one, with its interval."""
    found = bits_by_question(questions)
    highest = float(np.mean([one.limit for one in questions]))
    lengths = np.array([one.mean_tokens for one in questions])
    return Bits(
        bits=bounded_mean(found, 0.0, highest),
        by_question=tuple(float(one) for one in found),
        untempered=float(np.mean([bits(one) for one in questions])),
        per_token=_per_token(found, lengths, highest),
        mean_tokens=float(lengths.mean()),
        p=permutation_p(questions),
    )


def _per_token(found: Array, lengths: Array, highest: float) -> Estimate:
    """Return bits a token; the interval is that of the residuals of the ratio."""
    rate, length = float(found.sum() / lengths.sum()), float(lengths.mean())
    residuals = (found - rate * lengths) / length
    around = bounded_mean(residuals, -rate, (highest - rate * length) / length)
    if around.low is None or around.high is None:
        return Estimate(rate)
    return Estimate(rate, rate + around.low, rate + around.high)


def margins_of(own: Mapping[int, float], control: Mapping[int, float]) -> Array:
    """Return by how much ``own`` exceeds ``control``, for each question that both have."""
    return np.array([own[one] - control[one] for one in sorted(own.keys() & control.keys())])


def margin(own: Mapping[int, float], control: Mapping[int, float], limit: float) -> Estimate | None:
    """Return by how much ``own`` exceeds ``control`` on average; None without common questions."""
    found = margins_of(own, control)
    return bounded_mean(found, 0.0, limit) if len(found) else None


LEAK_BITS = 2.0
"""Bits a token above a foreign reasoning from which a reasoning is flagged."""


@dataclass(frozen=True, slots=True)
class LeakOfAnswer:
    """What the reasoning alone tells of one answer, in bits a token."""

    question_id: int
    variant_id: int
    answer_id: int
    own: float
    foreign: float


@dataclass(frozen=True, slots=True)
class LeakOfReasoning:
    """The mean over the answers under one reasoning, in bits a token."""

    question_id: int
    variant_id: int
    own: float
    foreign: float

    @property
    def above(self) -> float:
        """By how much it exceeds a foreign reasoning."""
        return self.own - self.foreign

    @property
    def is_flagged(self) -> bool:
        """Whether it holds (a part of) the answer."""
        return self.above >= LEAK_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """The leak scores of many reasonings."""

    own: Estimate
    foreign: Estimate
    reasonings: tuple[LeakOfReasoning, ...]
    """The highest first."""

    @property
    def flagged(self) -> tuple[LeakOfReasoning, ...]:
        """Those that hold the answer, as far as the score tells."""
        return tuple(one for one in self.reasonings if one.is_flagged)


def leaks(answers: Sequence[LeakOfAnswer]) -> Leaks | None:
    """Return the leak of each reasoning and the means over questions; None without answers."""
    if not answers:
        return None
    by_reasoning: dict[tuple[int, int], list[LeakOfAnswer]] = {}
    for answer in answers:
        by_reasoning.setdefault((answer.question_id, answer.variant_id), []).append(answer)
    found = [
        LeakOfReasoning(
            *key, float(np.mean([a.own for a in own])), float(np.mean([a.foreign for a in own]))
        )
        for key, own in by_reasoning.items()
    ]
    by_question: dict[int, list[LeakOfReasoning]] = {}
    for one in found:
        by_question.setdefault(one.question_id, []).append(one)
    grouped = by_question.values()
    return Leaks(
        own=mean(np.array([np.mean([one.own for one in group]) for group in grouped])),
        foreign=mean(np.array([np.mean([one.foreign for one in group]) for group in grouped])),
        reasonings=tuple(sorted(found, key=lambda one: -one.above)),
    )


@dataclass(frozen=True, slots=True)
class Distances:
    """The answers of one question: how far each is from each, and under which reasoning it is."""

    distance: Array
    """0 to 1: shape (answers, answers)."""
    own: Array
    """Shape (answers,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BetweenWithin:
    """Distances over questions."""

    between: Estimate
    """Of two answers under different reasonings, 0 to 1."""
    within: Estimate
    """Of two answers under the same reasoning."""
    gap: Estimate
    """How much further apart the former are."""
    p: float
    """By permutation: how likely so wide a gap is by chance."""
    n_questions: int


def distances(texts: Sequence[str], own: Sequence[int]) -> Distances | None:
    """Return the distances of ``texts``; None unless some share a reasoning and some do not."""
    labels = np.asarray(own)
    n_under = np.unique(labels, return_counts=True)[1]
    if len(n_under) < 2 or n_under.max() < 2:
        return None
    return Distances(1.0 - similarity(texts), labels)


def between_within(questions: Sequence[Distances], n: int = N_PERMUTATIONS) -> BetweenWithin:
    """Return the mean distances over ``questions``, at least one, with intervals and a p-value.

    For the p-value the answers of each question are dealt to its reasonings anew.
    """
    random = np.random.default_rng(SEED)
    found = np.array([_means(one.distance, one.own) for one in questions])
    permuted = np.zeros(n)
    for one in questions:
        orders = random.permuted(np.tile(one.own, (n, 1)), axis=1)
        permuted += [np.subtract(*_means(one.distance, order)) for order in orders]
    gaps = found[:, 0] - found[:, 1]
    return BetweenWithin(
        between=mean(found[:, 0], lowest=0.0, highest=1.0),
        within=mean(found[:, 1], lowest=0.0, highest=1.0),
        gap=mean(gaps),
        p=float((1 + np.count_nonzero(permuted >= gaps.sum() - 1e-9)) / (n + 1)),
        n_questions=len(questions),
    )


def _means(distance: Array, own: Array) -> tuple[float, float]:
    """Return the mean distance between answers of different reasonings, and of the same."""
    above = np.triu_indices(len(own), 1)
    same = own[above[0]] == own[above[1]]
    pairs = distance[above]
    return float(pairs[~same].mean()), float(pairs[same].mean())
