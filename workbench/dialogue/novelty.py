"""The guard against going round in circles: how new a question is beside all earlier ones.

Two questions are as alike as their terms and their runs of letters point the same way (cosine, each
term weighted by its rarity among the questions at hand), less where they ask for something else,
negate, or name other numbers or the other side of an opposition. An embedder can take the place of
the wording (``workbench.dialogue.embedding``). How well this tells repeats from near misses is
measured by ``benchmarks/novelty.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.dialogue.wording import Wording, wording

Array = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Array]
"""Return one vector a text, shape (texts, dimensions), each of length 1."""
Towards = Literal["goal", "opposing", "both"]

REPEAT_FROM: Final = 0.85
"""Similarity of a repeat, chosen on one half of ``examples/novelty/pairs.yaml``."""
TERMS_SHARE: Final = 0.9
"""Of the terms in the similarity; the runs of letters have the rest."""
PRIOR_QUESTIONS: Final = 20
"""Questions that are added in thought, so that few questions do not make every word rare."""
LEANING: Final = 0.05
"""Goals that differ by less are equally near."""
N_CLOSEST: Final = 16
"""Earlier questions that are looked at mark by mark for each candidate."""
OTHER_NUMBER: Final = 0.6
OTHER_SIDE: Final = 0.6
OTHER_SIGN: Final = 0.65
OTHER_KIND: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """How new a candidate is, and where it leads."""

    nearest: int | None
    """Place of the most similar earlier question; None where there is none."""
    similarity: float
    """With it, 0 to 1."""
    is_repeat: bool
    """Whether an earlier question, or an earlier candidate, asks the same."""
    same_as: int | None
    """Place of the earlier candidate that it repeats; None where it repeats none."""
    goal_distance: float | None
    """From the goal, 0 to 1; None where the two share no script and cannot be compared."""
    opposing_distance: float | None
    """From the opposing goal; None without one."""
    towards: Towards | None
    """The goal that it is nearer to; None without two goals, or far from both."""

    @property
    def novelty(self) -> float:
        """How far it is from all earlier questions, 0 to 1."""
        return 1.0 - self.similarity


def assess(
    candidates: Sequence[str],
    earlier: Sequence[str],
    goal: str,
    opposing_goal: str | None = None,
    *,
    embed: Embed | None = None,
    repeat_from: float = REPEAT_FROM,
) -> list[Novelty]:
    """Return how new each of ``candidates`` is beside all ``earlier`` questions.

    Candidates are compared with the candidates before them as well: of twins the second is the
    repeat. Any of the texts may be in any language; only texts of one script are ever alike.

    Args:
        candidates: Questions that may be asked next, in the order in which they are shown.
        earlier: All earlier questions.
        goal: Of the theme.
        opposing_goal: Of the theme, if it has one.
        embed: What turns texts into vectors; the wording is compared without it.
        repeat_from: Similarity from which a question counts as a repeat, 0 to 1.
    """
    if not candidates:
        return []
    goals = [text for text in (goal, opposing_goal) if text and text.strip()]
    others = [*earlier, *candidates]
    alike = similarities(candidates, [*others, *goals], embed=embed)
    n = len(earlier)
    found = []
    for place, candidate in enumerate(candidates):
        before = alike[place, :n]
        twins = alike[place, n : n + place]
        to_goal = [
            1.0 - float(alike[place, len(others) + i]) if one_script(candidate, text) else None
            for i, text in enumerate(goals)
        ]
        nearest = int(before.argmax()) if n else None
        similarity = float(before.max()) if n else 0.0
        same_as = int(twins.argmax()) if place and twins.max() >= repeat_from else None
        found.append(
            Novelty(
                nearest=nearest,
                similarity=similarity,
                is_repeat=similarity >= repeat_from or same_as is not None,
                same_as=same_as,
                goal_distance=to_goal[0] if to_goal else None,
                opposing_distance=to_goal[1] if len(to_goal) > 1 else None,
                towards=_towards(to_goal),
            )
        )
    return found


def one_script(one: str, other: str) -> bool:
    """Tell whether two texts are both in letters of one kind, and so comparable by wording."""
    return wording(one).is_cjk == wording(other).is_cjk


def similarities(
    texts: Sequence[str], others: Sequence[str], *, embed: Embed | None = None
) -> Array:
    """Return how alike texts are, 0 to 1: shape (texts, others)."""
    mine = [wording(text) for text in texts]
    theirs = [wording(text) for text in others]
    if embed is None:
        alike = _by_wording(mine, theirs)
    else:
        vectors = embed([*texts, *others])
        alike = np.clip(vectors[: len(texts)] @ vectors[len(texts) :].T, 0.0, 1.0)
    for row, one in enumerate(mine):
        closest = np.argsort(-alike[row])[:N_CLOSEST]
        for column in closest:
            alike[row, column] *= _agreement(one, theirs[column])
    return alike


def _by_wording(mine: Sequence[Wording], theirs: Sequence[Wording]) -> Array:
    terms = _cosines([dict(one.terms) for one in mine], [dict(one.terms) for one in theirs])
    grams = _cosines([dict(one.grams) for one in mine], [dict(one.grams) for one in theirs])
    alike: Array = TERMS_SHARE * terms + (1 - TERMS_SHARE) * grams
    return alike


def _cosines(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Array:
    """Return cosines of the rarity-weighted counts: shape (mine, theirs)."""
    columns: dict[str, int] = {}
    both = _matrix([*mine, *theirs], columns)
    n_with = np.bincount(both.indices, minlength=len(columns))
    n_texts = both.shape[0] + PRIOR_QUESTIONS
    rarity = np.log1p(n_texts / (1.0 + n_with))
    both.data *= rarity[both.indices]
    lengths = np.sqrt(np.add.reduceat(np.append(both.data**2, 0.0), both.indptr[:-1]))
    lengths[np.diff(both.indptr) == 0] = 1.0
    both.data /= np.repeat(lengths, np.diff(both.indptr))
    product: Array = (both[: len(mine)] @ both[len(mine) :].T).toarray()
    return np.clip(product, 0.0, 1.0)


def _matrix(counts: list[dict[str, Any]], columns: dict[str, int]) -> Any:
    """Return counts as rows; ``columns`` learns the terms."""
    indices = [columns.setdefault(term, len(columns)) for row in counts for term in row]
    data = np.fromiter((n for row in counts for n in row.values()), float, len(indices))
    starts = np.cumsum([0, *(len(row) for row in counts)])
    return csr_array((data, indices, starts), shape=(len(counts), max(1, len(columns))))


def _agreement(one: Wording, other: Wording) -> float:
    """Return what is left of the similarity of two questions after their marks, 0 to 1."""
    if one.plain == other.plain:
        return 1.0
    left = 1.0
    if one.numbers != other.numbers:
        left *= OTHER_NUMBER
    if one.is_negated != other.is_negated:
        left *= OTHER_SIGN
    if one.kinds and other.kinds and not one.kinds & other.kinds:
        left *= OTHER_KIND
    if _are_opposed(one, other):
        left *= OTHER_SIDE
    return left


def _are_opposed(one: Wording, other: Wording) -> bool:
    """Tell whether each names a side of an opposition that the other does not."""
    return any(
        (name, 1 - side) in other.sides
        and (name, side) not in other.sides
        and (name, 1 - side) not in one.sides
        for name, side in one.sides
    )


def _towards(distances: Sequence[float | None]) -> Towards | None:
    goal, opposing = distances if len(distances) == 2 else (None, None)
    if goal is None or opposing is None or min(goal, opposing) >= 1.0:
        return None
    if abs(goal - opposing) < LEANING:
        return "both"
    return "goal" if goal < opposing else "opposing"
