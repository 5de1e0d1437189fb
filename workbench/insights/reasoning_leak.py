"""Whether a reasoning gives the answer away, in whatever language: the question is withheld.

An answer is scored under its reasoning with the question withheld, and with neither. The leak is
by how many bits a token the reasoning alone makes it likelier:

    (log2 p(answer | reasoning, no question) - log2 p(answer | neither)) / tokens.

What any text in that place would do is seen from a foreign reasoning and taken off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.insights.resampling import Estimate, mean

LEAK_BITS = 2.0
"""Bits a token above a foreign reasoning from which a reasoning is flagged."""


@dataclass(frozen=True, slots=True)
class LeakOfAnswer:
    """What the reasoning alone tells of one answer, in bits a token."""

    question_id: int
    variant_id: int
    answer_id: int
    own: float
    foreign: float


@dataclass(frozen=True, slots=True)
class LeakOfReasoning:
    """The mean over the answers under one reasoning, in bits a token."""

    question_id: int
    variant_id: int
    own: float
    foreign: float

    @property
    def above(self) -> float:
        """By how much it exceeds a foreign reasoning."""
        return self.own - self.foreign

    @property
    def is_flagged(self) -> bool:
        """Whether it holds (a part of) the answer."""
        return self.above >= LEAK_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """The leak scores of many reasonings."""

    own: Estimate
    foreign: Estimate
    reasonings: tuple[LeakOfReasoning, ...]
    """The highest first."""

    @property
    def flagged(self) -> tuple[LeakOfReasoning, ...]:
        """Those that hold the answer, as far as the score tells."""
        return tuple(one for one in self.reasonings if one.is_flagged)


def leaks(answers: Sequence[LeakOfAnswer]) -> Leaks | None:
    """Return the leak of each reasoning and the means over questions; None without answers."""
    if not answers:
        return None
    by_reasoning: dict[tuple[int, int], list[LeakOfAnswer]] = {}
    for answer in answers:
        by_reasoning.setdefault((answer.question_id, answer.variant_id), []).append(answer)
    found = [
        LeakOfReasoning(
            *key, float(np.mean([a.own for a in own])), float(np.mean([a.foreign for a in own]))
        )
        for key, own in by_reasoning.items()
    ]
    by_question: dict[int, list[LeakOfReasoning]] = {}
    for one in found:
        by_question.setdefault(one.question_id, []).append(one)
    grouped = by_question.values()
    return Leaks(
        own=mean(np.array([np.mean([one.own for one in group]) for group in grouped])),
        foreign=mean(np.array([np.mean([one.foreign for one in group]) for group in grouped])),
        reasonings=tuple(sorted(found, key=lambda one: -one.above)),
    )
