"""How many really different texts there are, and the best set of them, not only the best one.

Two texts are as alike as the sets of short runs that they hold (cosine; case, width and spacing do
not count). A run is about two words long in every script: ten letters, five kana or four Chinese
characters. So it is rarely shared by chance, and neither the length of texts nor their language
changes what is measured: copies are 1, texts that share half of their sentences about 0.5, and
texts that share nothing near 0, as short ones and as long ones. Repeating a text changes nothing.

The number of different texts is the Vendi score, ``exp(H)`` of the eigenvalues of that matrix over
n (Friedman and Dieng, "The Vendi Score", 2023): n where all share nothing, 1 where all are the
same. A set is chosen by maximal marginal relevance (Carbonell and Goldstein, 1998) among texts that
are good enough. This sees wording, not meaning.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from serving.words import HAN, KANA

RUN = 10
"""Length of a run, in Latin letters."""
SET_SIZE = 3
GOOD_ENOUGH = 0.25
"""Quality under which a text is in no set while there is a better one."""
NEAR_BEST = 0.5
"""The same, as a share of the best quality."""
_WIDE = {2: re.compile(f"[{KANA}\uac00-\ud7a3]"), 3: re.compile(f"[{HAN}]")}
"""Signs that stand for several Latin letters, by their number."""


def similarity(texts: Sequence[str]) -> npt.NDArray[Any]:
    """Return how alike texts are, 0 to 1: shape (n, n), the diagonal 1."""
    columns: dict[str, int] = {}
    places: list[int] = []
    values: list[float] = []
    ends = [0]
    for text in texts:
        runs = _runs(text)
        places += [columns.setdefault(run, len(columns)) for run in runs]
        length = np.sqrt(max(1, sum(runs.values())))
        values += [np.sqrt(letters) / length for letters in runs.values()]
        ends.append(len(places))
    # Nearly every run is of one text only: a full matrix of them would be mostly zeros.
    held = csr_array((values, places, ends), shape=(len(texts), max(1, len(columns))), dtype=float)
    similarities: npt.NDArray[Any] = np.clip((held @ held.T).toarray(), 0.0, 1.0)
    np.fill_diagonal(similarities, 1.0)
    return similarities


def number_of_different(similarities: npt.NDArray[Any]) -> float:
    """Return how many really different texts there are: from 1 to the number of texts."""
    shares = np.linalg.eigvalsh(similarities / len(similarities))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_difference(similarities: npt.NDArray[Any]) -> float:
    """Return how different two of the texts are on average, 0 to 1; NaN for a single text."""
    pairs = list(combinations(range(len(similarities)), 2))
    return float(np.mean([1 - similarities[pair] for pair in pairs])) if pairs else float("nan")


def best_set(
    quality: npt.NDArray[Any],
    similarities: npt.NDArray[Any],
    size: int = SET_SIZE,
    *,
    fill: bool = False,
) -> list[int]:
    """Return the places of up to ``size`` texts that are good and differ from one another.

    The first is the best one; each further one has the highest quality less its likeness to the
    nearest text chosen. Texts under ``floor_of`` are left out, however different they are.

    Args:
        quality: Shape (n,), 0 to 1.
        similarities: Shape (n, n), 0 to 1.
        size: How many to choose.
        fill: Put what is under the floor behind the others, the best first, until there are
            ``size``.
    """
    quality = np.asarray(quality, dtype=float)
    good = np.flatnonzero(quality >= floor_of(quality)) if len(quality) else np.array([], int)
    chosen: list[int] = []
    while len(chosen) < min(size, len(good)):
        nearest = similarities[:, chosen].max(axis=1) if chosen else np.zeros(len(quality))
        worth = np.where(np.isin(np.arange(len(quality)), good), quality - nearest, -np.inf)
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
    if fill:
        rest = sorted(set(range(len(quality))) - set(chosen), key=lambda place: -quality[place])
        chosen += rest[: size - len(chosen)]
    return chosen


def floor_of(quality: npt.NDArray[Any]) -> float:
    """Return the quality that a text of a best set has at least; the best one always has it."""
    best = float(np.max(quality))
    return min(best, max(GOOD_ENOUGH, NEAR_BEST * best))


def _runs(text: str) -> dict[str, int]:
    """Return the runs of ``text``, each with the Latin letters that its first sign stands for."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    letters = np.ones(len(plain), dtype=int)
    if not plain.isascii():
        for n, pattern in _WIDE.items():
            letters[[found.start() for found in pattern.finditer(plain)]] = n
    passed = np.concatenate([[0], letters.cumsum()])
    ends = np.searchsorted(passed, passed[:-1] + RUN)
    is_complete = ends <= len(plain)
    if not is_complete.any():
        return {plain: 1} if plain else {}
    starts = np.flatnonzero(is_complete)
    return {
        plain[start:end]: n
        for start, end, n in zip(
            starts.tolist(), ends[is_complete].tolist(), letters[is_complete].tolist(), strict=True
        )
    }
