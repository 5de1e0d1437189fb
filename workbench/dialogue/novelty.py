"""How new a question is beside all earlier ones, and whether a branch is exhausted.

Questions are compared as for held-out families (``serving.similarity.questions``); an embedder can
take the place of that. Goals are statements: how near a question is to one is told by wording
alone. How well repeats are told from near misses is measured by ``benchmarks/novelty.py``.

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
from typing import Final, Literal

from serving.similarity.questions import (
    SAME_FROM,
    Array,
    Embed,
    similarities,
    wording_similarities,
)
from serving.similarity.wording import wording

__all__ = ["REPEAT_FROM", "Array", "Embed", "Novelty", "assess", "one_script", "similarities"]
Towards = Literal["goal", "opposing", "both"]
REPEAT_FROM: Final = SAME_FROM
LEANING: Final = 0.05
"""Goals that differ by less are equally near."""


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
    if embed is not None:
        both = similarities(candidates, [*others, *goals], embed=embed)
        pairs, to_goals = both[:, : len(others)], both[:, len(others) :]
    else:
        pairs = similarities(candidates, others)
        to_goals = wording_similarities(candidates, goals)
    n = len(earlier)
    found = []
    for place, candidate in enumerate(candidates):
        before = pairs[place, :n]
        others_before = pairs[place, n : n + place]
        to_goal = [
            1.0 - float(to_goals[place, i]) if one_script(candidate, text) else None
            for i, text in enumerate(goals)
        ]
        nearest = int(before.argmax()) if n else None
        similarity = float(before.max()) if n else 0.0
        same_as = (
            int(others_before.argmax()) if place and others_before.max() >= repeat_from else None
        )
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


def _towards(distances: Sequence[float | None]) -> Towards | None:
    goal, opposing = distances if len(distances) == 2 else (None, None)
    if goal is None or opposing is None or min(goal, opposing) >= 1.0:
        return None
    if abs(goal - opposing) < LEANING:
        return "both"
    return "goal" if goal < opposing else "opposing"


MIN_PROPOSALS: Final = 12
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
        return self.n_proposals >= MIN_PROPOSALS and self.chance_of_new < EXHAUSTED_BELOW


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
    pairs = similarities(questions, questions, embed=embed)
    first: list[int] = []
    groups: list[int] = []
    for place in range(len(questions)):
        nearest = max(first, key=lambda other: pairs[place, other], default=None)
        if nearest is not None and pairs[place, nearest] >= repeat_from:
            groups.append(nearest)
        else:
            first.append(place)
            groups.append(place)
    return groups
