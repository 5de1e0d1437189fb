"""Whether a branch is exhausted: distinct questions so far, and how many are still to be found.

The curve is a species accumulation curve: each proposal is a find, repeats of one question are one
species. How many there are in all is estimated by Chao1 in its bias-corrected form (Chao, "Non-
parametric estimation of the number of classes in a population", 1984), the chance that the next
proposal is new by the share of those found once (Good, "The population frequencies of species and
the estimation of population parameters", 1953). Both take the finds for random draws, which
questions that build on one another are not: they are hints, and Chao1 is a lower bound.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from workbench.dialogue.novelty import REPEAT_FROM, Embed, similarities

FEW_PROPOSALS: Final = 12
"""With fewer, nothing is said."""
EXHAUSTED_BELOW: Final = 0.1
"""Chance of a new question below which a branch counts as exhausted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhaustion:
    """What is known of the questions of a branch."""

    curve: tuple[int, ...]
    """Distinct questions after each proposal."""
    n_proposals: int
    n_distinct: int
    n_expected: float
    """Distinct questions that there are in all, at least."""
    chance_of_new: float
    """That the next proposal is a new question, 0 to 1; 1 where there are none yet."""

    @property
    def is_exhausted(self) -> bool:
        """Whether more of the same will hardly bring a new question."""
        return self.n_proposals >= FEW_PROPOSALS and self.chance_of_new < EXHAUSTED_BELOW


def exhaustion(
    questions: Sequence[str], *, embed: Embed | None = None, repeat_from: float = REPEAT_FROM
) -> Exhaustion:
    """Return how far the questions of a branch, in the order of their proposal, have been found."""
    groups = same_questions(questions, embed=embed, repeat_from=repeat_from)
    seen: set[int] = set()
    curve = []
    for group in groups:
        seen.add(group)
        curve.append(len(seen))
    found = Counter(Counter(groups).values())
    once, twice = found[1], found[2]
    return Exhaustion(
        curve=tuple(curve),
        n_proposals=len(questions),
        n_distinct=len(seen),
        n_expected=len(seen) + once * (once - 1) / (2 * (twice + 1)),
        chance_of_new=once / len(questions) if questions else 1.0,
    )


def same_questions(
    questions: Sequence[str], *, embed: Embed | None = None, repeat_from: float = REPEAT_FROM
) -> list[int]:
    """Return for each question the place of the first one that asks the same; its own if new.

    A question joins the most similar of the earlier first ones, so that likeness is not handed on
    from repeat to repeat.
    """
    if not questions:
        return []
    alike = similarities(questions, questions, embed=embed)
    first: list[int] = []
    groups: list[int] = []
    for place in range(len(questions)):
        nearest = max(first, key=lambda other: alike[place, other], default=None)
        if nearest is not None and alike[place, nearest] >= repeat_from:
            groups.append(nearest)
        else:
            first.append(place)
            groups.append(place)
    return groups


def balance(moves: Sequence[str | None]) -> dict[str, int]:
    """Return how often each move was made, the most frequent first; None counts for nothing."""
    return dict(Counter(move for move in moves if move).most_common())
