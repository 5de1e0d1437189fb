"""Which texts say nearly the same: sets of three-letter sequences, compared exactly.

Likeness is the Jaccard index of those sets; case, width and spacing do not count. Texts that differ
in their numbers are never alike. Pairs are found without comparing all with all: two sets that
share so much must share several of their rarest members (prefix filtering: Wang, Li and Feng, "Can
we beat the prefix filtering?", 2012). Whether questions ask the same, in whatever words, is for
``serving.similarity`` to say.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from serving.similarity.wording import numbers

GRAM = 3
_SHARED = 12
"""Rare members that two alike sets must share; more of them means fewer pairs to look at."""
_BLOCK = 500
"""Texts compared with all others at a time."""
_ROOM = 1e-9
"""So that rounding never loses a pair."""


class Grams(NamedTuple):
    """A text as it is compared."""

    letters: frozenset[str]
    """Its three-letter sequences."""
    numbers: tuple[str, ...]


def grams(text: str) -> Grams:
    """Return the three-letter sequences of a text; of a shorter text, itself."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if len(plain) < GRAM:
        return Grams(frozenset([plain] if plain else []), numbers(text))
    letters = frozenset(plain[i : i + GRAM] for i in range(len(plain) - GRAM + 1))
    return Grams(letters, numbers(text))


def similarity(a: Grams, b: Grams) -> float:
    """Return how alike two texts are: 0 where they share nothing, 1 where they are the same."""
    if a.numbers != b.numbers:
        return 0.0
    if not a.letters and not b.letters:
        return 1.0
    shared = len(a.letters & b.letters)
    return shared / (len(a.letters) + len(b.letters) - shared)


def are_alike(a: Grams, b: Grams, threshold: float) -> bool:
    """Tell whether two texts are at least so alike."""
    small, large = sorted((len(a.letters), len(b.letters)))
    return small >= threshold * large - _ROOM and similarity(a, b) >= threshold


def near_pairs(texts: Sequence[str], threshold: float) -> Iterator[tuple[int, int]]:
    """Yield places of texts that are at least so alike, ``threshold`` above 0.

    Of texts that are the same, each is paired with the first one only.
    """
    first: dict[Grams, int] = {}
    for i, text in enumerate(texts):
        found = grams(text)
        if found in first:
            yield first[found], i
        else:
            first[found] = i
    read = [one for one in first if one.letters]
    places = [first[one] for one in read]
    for a, b in _candidates([one.letters for one in read], threshold):
        if are_alike(read[a], read[b], threshold):
            yield places[a], places[b]


def _candidates(sets: Sequence[frozenset[str]], threshold: float) -> Iterator[tuple[int, int]]:
    """Yield a < b for all sets that may be so alike, and for few others."""
    if not sets:
        return
    sizes = np.array([len(one) for one in sets])
    least = np.ceil(threshold * sizes - _ROOM).astype(int)  # members an alike set must share
    rare = _rarest(sets, np.minimum(sizes, sizes - least + _SHARED))
    for start in range(0, len(sets), _BLOCK):
        shared = (rare[start : start + _BLOCK] @ rare.T).tocoo()
        a, b = shared.coords[0] + start, shared.coords[1]
        needed = np.minimum(_SHARED, np.maximum(least[a], least[b]))
        fits = (
            (a < b)
            & (shared.data >= needed)
            & (np.minimum(sizes[a], sizes[b]) >= np.maximum(least[a], least[b]))
        )
        yield from zip(a[fits].tolist(), b[fits].tolist(), strict=True)


def _rarest(sets: Sequence[frozenset[str]], lengths: np.ndarray) -> csr_array:
    """Return the ``lengths`` rarest members of each set as ones: shape (sets, all members)."""
    n_sets = Counter(gram for one in sets for gram in one)
    order = sorted(n_sets, key=lambda gram: (n_sets[gram], gram))
    rank = {gram: i for i, gram in enumerate(order)}
    columns = [
        i
        for one, length in zip(sets, lengths.tolist(), strict=True)
        for i in sorted(map(rank.__getitem__, one))[:length]
    ]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    ones = np.ones(len(columns), dtype=np.int32)
    return csr_array((ones, columns, ends), shape=(len(sets), len(rank)))
