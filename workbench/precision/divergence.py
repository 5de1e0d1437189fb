"""How far the next-token distributions of two versions are apart, and how far their texts agree.

``KL(p || q)`` of the 16-bit weights p and the quantised ones q, in nats, at each token of a text
that p has written at temperature 1: the mean over tokens then estimates the divergence of whole
texts per token, by the chain rule. A server tells the k likeliest tokens at each place. Tokens that
both tell of keep their own probability; all others are one further outcome, whose probability is
what is left. By the data-processing inequality (Cover and Thomas, "Elements of Information Theory",
2.8) that is a lower bound of the divergence, close where little is left over: ``rest`` says how
much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.stats.intervals import (
    Array,
    Estimate,
    draw_weights,
    estimate,
    intervals,
    mean,
    share,
)

Place = Mapping[int, float]
"""Token id → natural logarithm of its probability, of the tokens told of at one place."""
LEAST = 1e-9
"""Probability that is left over at least: sums of rounded ones may pass 1."""


@dataclass(frozen=True, slots=True)
class TextDivergence:
    """What one text shows, an entry a token."""

    kl: Array
    """Nats, shape (tokens,)."""
    same_top: Array
    """Both find the same token likeliest; shape (tokens,)."""
    rest: Array
    """Probability, by the 16-bit weights, of all tokens told of by one version only or by none."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two texts written without chance, to one question."""

    is_same: bool
    prefix: int
    """Tokens at the beginning that are the same."""
    length: int
    """Tokens of the text of the 16-bit weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How far a version is from its 16-bit weights; intervals are over questions."""

    n_questions: int
    n_tokens: int
    kl: Estimate
    """Mean nats a token; a lower bound, see above."""
    kl_p99: float
    """One token of a hundred is above it."""
    same_top: Estimate
    """Share of tokens at which both find the same one likeliest."""
    rest: float
    """Mean probability that only the lower bound knows of."""
    identical: Estimate
    """Share of greedy texts that are the same."""
    prefix: Estimate
    """Mean number of tokens at the beginning of greedy texts that are the same."""
    length: float
    """Mean number of tokens of greedy texts by the 16-bit weights."""


def divergence(reference: Sequence[Place], other: Sequence[Place]) -> TextDivergence:
    """Return how far ``other`` is from ``reference`` at each place of one text."""
    found = [_at(p, q) for p, q in zip(reference, other, strict=True)]
    kl, same, rest = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    return TextDivergence(kl, same, rest)


def _at(reference: Place, other: Place) -> tuple[float, bool, float]:
    shared = sorted(reference.keys() & other.keys())
    log_p = np.array([reference[token] for token in shared])
    log_q = np.array([other[token] for token in shared])
    p, q = np.exp(log_p), np.exp(log_q)
    p_rest, q_rest = max(LEAST, 1.0 - p.sum()), max(LEAST, 1.0 - q.sum())
    kl = float(p @ (log_p - log_q)) + p_rest * float(np.log(p_rest / q_rest))
    same_top = max(reference, key=reference.__getitem__) == max(other, key=other.__getitem__)
    return max(0.0, kl), same_top, p_rest


def agreement(reference: Sequence[int], other: Sequence[int]) -> Agreement:
    """Return how far two texts, given as token ids, agree from their beginning."""
    prefix = 0
    for one, another in zip(reference, other, strict=False):
        if one != another:
            break
        prefix += 1
    return Agreement(list(reference) == list(other), prefix, len(reference))


def figures(texts: Sequence[TextDivergence], greedy: Sequence[Agreement]) -> Figures:
    """Return what the texts of several questions show together.

    Args:
        texts: One or more, of one question each.
        greedy: One or more, of one question each.
    """
    n = np.array([len(text.kl) for text in texts], dtype=float)
    everywhere = np.concatenate([text.kl for text in texts])
    same = np.array([text.same_top.sum() for text in texts])
    return Figures(
        n_questions=len(texts),
        n_tokens=int(n.sum()),
        kl=_per_token(np.array([text.kl.sum() for text in texts]), n),
        kl_p99=float(np.quantile(everywhere, 0.99)),
        same_top=share(same, n),
        rest=float(np.concatenate([text.rest for text in texts]).mean()),
        identical=share(np.array([float(one.is_same) for one in greedy]), np.ones(len(greedy))),
        prefix=mean(np.array([float(one.prefix) for one in greedy]), lowest=0.0),
        length=float(np.mean([one.length for one in greedy])),
    )


def _per_token(sums: Array, tokens: Array) -> Estimate:
    """Return the mean over all tokens; questions are drawn, each with all its tokens.

    The interval is made of logarithms, since divergences are positive and skewed.
    """
    value = float(sums.sum() / tokens.sum())
    if value <= 0:
        return Estimate(value)
    weights = draw_weights(len(tokens))
    draws = np.log(np.maximum((weights @ sums) / (weights @ tokens), LEAST))
    low, high = intervals(np.array([np.log(value)]), draws[:, None], len(tokens))
    return estimate(value, float(np.exp(low[0])), float(np.exp(high[0])))
