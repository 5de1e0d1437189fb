"""What the reasonings are to their answers: an input, only an output, or not clear yet.

Each is said only on evidence of its own; that the other cannot be shown is none.

- ``input``: the bits, and their margin above every control, are surely more than ``WORTH`` of
  log2(k).
- ``words``: surely more than that above foreign reasonings, and surely less above shuffled ones or
  the first half: these do as much.
- ``input_unsorted``: surely above foreign reasonings; of the other controls it is not clear.
- ``output``: at most ``WORTH`` of log2(k), by an upper bound over at least ``FEWEST_QUESTIONS``
  questions that can tell: their reasonings differ, and their answers were drawn from what scores
  them. Otherwise the score is too low by an unknown amount, and no upper bound of it is one of what
  reasonings do.
- ``unclear``: anything else, with what is missing.

Bits a token have a verdict of their own: an answer of many tokens can hold many bits although
hardly a token depends on the reasoning.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.stats.influence import Bits, Scored, bits
from workbench.stats.intervals import LEVEL, Array, Estimate, lower_bound, upper_bound

ReasoningVerdict = Literal["input", "words", "input_unsorted", "output", "unclear"]
Missing = Literal["questions", "close", "different", "sampling", "controls", "chance", "ceiling"]

SIGNIFICANT = 0.05
WORTH = 0.05
"""Share of log2(k) under which an influence counts as none, and which an input surely exceeds."""
WORTH_OF_TOKEN = 0.01
"""The same for bits a token: one bit in a hundred tokens."""
FEWEST_QUESTIONS = 30
"""Without so many questions that can tell, reasonings are never called only an output."""
FEWEST_FOR_INPUT = 5
FAR_FROM_CEILING = 0.5
"""Share of log2(k) above which bits may be cut by it, so that bits a token are no upper bound."""
DIFFERENT = 0.3
"""Mean difference of two reasonings of a question, from which they count as really different."""
FOREIGN = "foreign"
SIZES = (30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 700, 1000)
"""Numbers of questions of which it is tried whether they would do."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing for a verdict."""

    what: Missing
    """``questions``: so many like these would do. ``close``: none would, the estimate is at the
    limit. ``different``: questions whose reasonings differ. ``sampling``: questions whose answers
    were drawn from what scores them. ``controls``: questions that also have foreign reasonings
    scored. ``chance``: the fit may be chance. ``ceiling``: reasonings, since the bits are near
    log2(k)."""
    has: int = 0
    needs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningJudgement:
    """A verdict and what it stands on."""

    verdict: ReasoningVerdict = "unclear"
    missing: tuple[Lack, ...] = ()
    """Empty unless ``unclear`` or ``input_unsorted``."""
    at_most: float | None = None
    """Bits (or bits a token) that reasonings surely do not exceed (95 %); None where no question
    can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InformativeQuestions:
    """The questions of a level that can show that reasonings do nothing."""

    questions: tuple[Scored, ...]
    """With different reasonings and answers drawn from what scores them."""
    n_different: int
    n_as_scored: int

    @property
    def shares(self) -> Array:
        """The untempered bits of each as a share of log2(k): unbiased, at most 1."""
        return np.array([bits(one) / one.limit for one in self.questions])

    def missing(self) -> list[Lack]:
        """Return what keeps too many questions from telling."""
        short: list[Lack] = []
        if len(self.questions) >= FEWEST_QUESTIONS:
            return short
        if self.n_different < FEWEST_QUESTIONS:
            short.append(Lack("different", self.n_different, FEWEST_QUESTIONS))
        if self.n_as_scored < FEWEST_QUESTIONS:
            short.append(Lack("sampling", self.n_as_scored, FEWEST_QUESTIONS))
        return short or [Lack("questions", len(self.questions), FEWEST_QUESTIONS)]


def informative(questions: Sequence[Scored]) -> InformativeQuestions:
    """Return which of ``questions`` can tell that reasonings do nothing."""
    different = [one.difference >= DIFFERENT for one in questions]
    return InformativeQuestions(
        questions=tuple(
            one
            for one, is_different in zip(questions, different, strict=True)
            if is_different and one.is_as_scored
        ),
        n_different=sum(different),
        n_as_scored=sum(one.is_as_scored for one in questions),
    )


def judge(
    questions: Sequence[Scored],
    own: Bits,
    margins: Mapping[str, Estimate],
    limit: float,
    differences: Mapping[str, Array] | None = None,
) -> ReasoningJudgement:
    """Return what the reasonings are to their answers.

    Args:
        questions: What was scored, at least one question.
        own: Their score.
        margins: By how many bits it exceeds each kind of control.
        limit: The most bits that there can be: the mean of log2(k).
        differences: The margins of single questions, for what more questions would tell.
    """
    able, least = informative(questions), WORTH * limit
    at_most = None
    if able.questions:
        at_most = upper_bound(able.shares, 1.0, LEVEL)
    bits_at_most = None if at_most is None else at_most * limit
    if at_most is not None and at_most < WORTH and len(able.questions) >= FEWEST_QUESTIONS:
        return ReasoningJudgement(verdict="output", at_most=bits_at_most)
    if _is_input(questions, own, margins, least):
        found = _kind_of_input(margins, least)
        short = () if found != "input_unsorted" else (Lack("questions", len(questions), None),)
        return ReasoningJudgement(verdict=found, missing=short, at_most=bits_at_most)
    missing = _missing(questions, able, own, margins, limit, differences or {})
    return ReasoningJudgement(missing=tuple(missing), at_most=bits_at_most)


def judge_per_token(
    questions: Sequence[Scored], own: Bits, margins: Mapping[str, Estimate]
) -> ReasoningJudgement:
    """Return the same of bits a token: ``input``, ``output`` or ``unclear``."""
    able = informative(questions)
    foreign, tokens = margins.get(FOREIGN), own.mean_tokens
    lows = (own.per_token.low, foreign.low / tokens if foreign and foreign.low else None)
    is_enough = len(questions) >= FEWEST_FOR_INPUT and own.p <= SIGNIFICANT
    if is_enough and all(low is not None and low > WORTH_OF_TOKEN for low in lows):
        return ReasoningJudgement(verdict="input")
    if not able.questions:
        return ReasoningJudgement(missing=tuple(able.missing()))
    at_most = _most_per_token(able)
    missing = able.missing()
    if upper_bound(able.shares, 1.0, LEVEL) > FAR_FROM_CEILING:
        missing.append(Lack("ceiling", max(one.log_probs.shape[1] for one in questions)))
    if at_most < WORTH_OF_TOKEN and not missing:
        return ReasoningJudgement(verdict="output", at_most=at_most)
    if not missing:
        missing.append(Lack("questions", len(questions), None))
    return ReasoningJudgement(missing=tuple(missing), at_most=at_most)


def _is_input(
    questions: Sequence[Scored], own: Bits, margins: Mapping[str, Estimate], least: float
) -> bool:
    if len(questions) < FEWEST_FOR_INPUT or own.p > SIGNIFICANT:
        return False
    return FOREIGN in margins and all(_low(one) > least for one in (own.bits, margins[FOREIGN]))


def _kind_of_input(margins: Mapping[str, Estimate], least: float) -> ReasoningVerdict:
    others = [one for kind, one in margins.items() if kind != FOREIGN]
    if any(one.high is not None and one.high < least for one in others):
        return "words"
    return "input" if all(_low(one) > least for one in others) else "input_unsorted"


def _missing(
    questions: Sequence[Scored],
    able: InformativeQuestions,
    own: Bits,
    margins: Mapping[str, Estimate],
    limit: float,
    differences: Mapping[str, Array],
) -> list[Lack]:
    least, n = WORTH * limit, len(questions)
    if own.bits.value <= least:
        missing = able.missing()
        return missing or [_questions(able.shares, lambda times: _most(able.shares, times) < WORTH)]
    if FOREIGN not in margins:
        return [Lack("controls", 0, n)]
    values = [np.array(own.by_question), differences.get(FOREIGN, np.array([]))]
    values = [one for one in values if len(one)]
    if min(float(one.mean()) for one in values) <= least:
        return [Lack("close", n)]
    level = (1 + LEVEL) / 2

    def would_do(times: float) -> bool:
        return all(lower_bound(one, 0.0, level, times) > least for one in values)

    short = [Lack("chance", n)] if own.p > SIGNIFICANT else []
    return [*short, _questions(values[0], would_do, FEWEST_FOR_INPUT)]


def _questions(values: Array, would_do: Callable[[float], bool], fewest: int = 0) -> Lack:
    """Return how many questions like those of ``values`` would do."""
    n = len(values)
    sizes = [size for size in (fewest, *SIZES) if size > n]
    place = bisect_left(sizes, True, key=lambda size: would_do(size / n))
    return Lack("questions", n, sizes[place]) if place < len(sizes) else Lack("close", n)


def _most(shares: Array, times: float) -> float:
    return upper_bound(shares, 1.0, LEVEL, times)


def _most_per_token(able: InformativeQuestions) -> float:
    """Return the upper bound of bits a token: of a ratio, by its residuals."""
    found = np.array([bits(one) for one in able.questions])
    lengths = np.array([one.mean_tokens for one in able.questions])
    rate, limit = found.sum() / lengths.sum(), max(one.limit for one in able.questions)
    residuals = (found - rate * lengths) / lengths.mean()
    return float(rate + upper_bound(residuals, limit / lengths.mean(), LEVEL))


def _low(found: Estimate) -> float:
    return -np.inf if found.low is None else found.low
