"""Which of many questions ask the same, without comparing all with all.

Two questions are compared where they share a rare term, or a rare pair of terms that are common one
by one; questions of the same terms and marks are paired with the first of them. So time grows with
the number of questions, not with its square. What is lost: questions that share nothing but
combinations found in more than ``MAX_SHARING`` questions, and not all of their terms.
"""

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import csr_array, hstack

from serving.similarity.questions import (
    MIN_WORDING,
    SAME_FROM,
    compare,
    term_rows,
)
from serving.similarity.wording import Wording, wording

MAX_SHARING: Final = 50
"""Questions that share a term, or two, from which sharing it says nothing."""
MAX_COMMON: Final = 6
"""Common terms of a question of which pairs are made, the rarest ones."""
_BLOCK: Final = 2_000
"""Questions whose pairs are looked for at a time."""

Places = NDArray[np.int64]


def question_groups(texts: Sequence[str]) -> list[list[int]]:
    """Return the places of questions that ask the same, each group from its first place on.

    Who asks the same as a third question is in its group: so no chain of rewordings escapes.
    """
    return [list(group) for group in _groups(tuple(texts))]


@lru_cache(maxsize=2)
def _groups(texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the groups; kept, since a preview asks again for those of the same store."""
    distinct = list(dict.fromkeys(texts))
    joined = DisjointSet(range(len(distinct)))
    for a, b in _same_pairs(distinct):
        joined.merge(a, b)
    group_of = {text: joined[place] for place, text in enumerate(distinct)}
    groups: dict[int, list[int]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(group_of[text], []).append(place)
    return tuple(map(tuple, groups.values()))


def _same_pairs(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    columns: dict[str, int] = {}
    first: dict[Hashable, int] = {}
    blocks, equal = [], []
    for start in range(0, len(texts), _BLOCK):
        read = [wording(text) for text in texts[start : start + _BLOCK]]
        blocks.append(term_rows(read, columns))
        for place, one in enumerate(read, start):
            if first.setdefault(_identity(one), place) != place:
                equal.append((first[_identity(one)], place))
    if not columns:
        return
    rows = _stacked(blocks, len(columns))
    pairs = np.array(equal, dtype=np.int64).reshape(-1, 2)
    for found in (pairs, *_sharing(rows)):
        similarity = np.asarray(rows[found[:, 0]].multiply(rows[found[:, 1]]).sum(axis=1)).ravel()
        found, similarity = found[similarity >= MIN_WORDING], similarity[similarity >= MIN_WORDING]
        similar = compare([(texts[a], texts[b]) for a, b in found.tolist()], similarity)
        yield from map(tuple, found[similar >= SAME_FROM].tolist())


def _identity(one: Wording) -> Hashable:
    return (frozenset(one.terms), one.numbers, one.is_negated, one.kinds)


def _stacked(blocks: Sequence[csr_array], n_columns: int) -> csr_array:
    """Return blocks as one, each as wide as the last, which knows all terms."""
    indptr = np.cumsum([0, *(n for block in blocks for n in np.diff(block.indptr))])
    data = np.concatenate([block.data for block in blocks])
    indices = np.concatenate([block.indices for block in blocks])
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, n_columns))


def _sharing(rows: csr_array) -> Iterator[Places]:
    """Yield pairs of questions that share something rare, a < b: shape (pairs, 2)."""
    marks = _rare_marks(rows)
    for start in range(0, marks.shape[0], _BLOCK):
        found = (marks[start : start + _BLOCK] @ marks.T).tocoo()
        a, b = found.coords[0].astype(np.int64) + start, found.coords[1].astype(np.int64)
        yield np.column_stack([a, b])[a < b]


def _rare_marks(rows: csr_array) -> csr_array:
    """Return the rare terms and the rare pairs of common terms of each row, as ones."""
    n_with = np.bincount(rows.indices, minlength=rows.shape[1])
    rare = rows.copy()
    rare.data = ((n_with > 1) & (n_with <= MAX_SHARING))[rare.indices].astype(np.int32)
    rare.eliminate_zeros()
    ends, keys = [0], []
    for start, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        own = rows.indices[start:end]
        common = sorted(own[n_with[own] > MAX_SHARING].tolist(), key=lambda one: (n_with[one], one))
        keys += [a * rows.shape[1] + b for a, b in combinations(sorted(common[:MAX_COMMON]), 2)]
        ends.append(len(keys))
    if not keys:
        return rare
    _, columns, n_sharing = np.unique(
        np.array(keys, dtype=np.int64), return_inverse=True, return_counts=True
    )
    is_rare = ((n_sharing > 1) & (n_sharing <= MAX_SHARING))[columns].astype(np.int32)
    pairs = csr_array((is_rare, columns, ends), shape=(rows.shape[0], len(n_sharing)))
    pairs.eliminate_zeros()
    return csr_array(hstack([rare, pairs], format="csr"))
