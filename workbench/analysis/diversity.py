"""How many really different texts there are, and the best set of them, not only the best one.

Two texts are as alike as their counts of three-letter sequences point the same way (cosine; case,
width and spacing do not count). The number of different texts is the Vendi score, ``exp(H)`` of the
eigenvalues of that matrix over n (Friedman and Dieng, "The Vendi Score", 2023): n where all share
nothing, 1 where all are the same. A set is chosen by maximal marginal relevance (Carbonell and
Goldstein, 1998). This sees wording, not meaning.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from workbench.analysis.resampling import Array

GRAM = 3
SET_SIZE = 3


def likeness(texts: Sequence[str]) -> Array:
    """Return how alike texts are, 0 to 1: shape (n, n), the diagonal 1."""
    grams = [_grams(text) for text in texts]
    columns = {gram: i for i, gram in enumerate(sorted(set().union(*grams)))}
    counts = np.zeros((len(texts), max(1, len(columns))))
    for row, found in enumerate(grams):
        for gram, n in found.items():
            counts[row, columns[gram]] = n
    counts /= np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-12)
    alike = np.clip(counts @ counts.T, 0.0, 1.0)
    np.fill_diagonal(alike, 1.0)
    return alike


def number_of_different(alike: Array) -> float:
    """Return how many really different texts there are: from 1 to the number of texts."""
    shares = np.linalg.eigvalsh(alike / len(alike))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_difference(alike: Array) -> float:
    """Return how different two of the texts are on average, 0 to 1; NaN for a single text."""
    pairs = list(combinations(range(len(alike)), 2))
    return float(np.mean([1 - alike[pair] for pair in pairs])) if pairs else float("nan")


def best_set(quality: Array, alike: Array, size: int = SET_SIZE) -> list[int]:
    """Return the places of up to ``size`` texts that are good and differ from one another.

    The first is the best one; each further one has the highest quality less its likeness to the
    nearest text chosen.

    Args:
        quality: Shape (n,), 0 to 1.
        alike: Shape (n, n), 0 to 1.
        size: How many to choose.
    """
    chosen: list[int] = []
    while len(chosen) < min(size, len(quality)):
        nearest = alike[:, chosen].max(axis=1) if chosen else np.zeros(len(quality))
        worth = quality - nearest
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
    return chosen


def _grams(text: str) -> Counter[str]:
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if len(plain) < GRAM:
        return Counter([plain] if plain else [])
    return Counter(plain[i : i + GRAM] for i in range(len(plain) - GRAM + 1))
