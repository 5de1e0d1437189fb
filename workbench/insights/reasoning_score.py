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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.insights.bounded_mean import bounded_mean
from workbench.insights.resampling import SEED, Array, Estimate

POWERS = np.concatenate([[0.0], np.geomspace(1 / 1024, 1.0, 21)])
N_PERMUTATIONS = 999


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
    real, dealt = 0.0, np.zeros(n)
    for one in questions:
        centred = one.log_probs - one.log_probs.mean(axis=1, keepdims=True)
        scale = centred.std()
        if scale < 1e-12:
            continue
        fit = centred / scale
        rows = np.arange(len(one.own))
        order = random.permuted(np.tile(rows, (n, 1)), axis=1)
        real += float(one.weights @ fit[rows, one.own])
        dealt += (fit[rows, one.own[order]] * one.weights[order]).sum(axis=1)
    return float((1 + np.count_nonzero(dealt >= real - 1e-9)) / (n + 1))


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
