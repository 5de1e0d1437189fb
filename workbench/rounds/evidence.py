"""What is known of each measure that decides on a round: harmless, better, worse, or open.

Two questions are asked of each: is it surely not worse than the margin of the round allows, and
did it surely change? Each is asked of several measures, so its intervals hold together: Holm's
step-down method ("A simple sequentially rejective multiple test procedure", 1979) begins at the
level of Bonferroni, and each measure that is settled makes that of the others milder. The one end
of the interval that pages show is that of the first question, towards harm, the other that of the
second. Measures without a margin are watched: only the second is asked of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from scipy import special

from workbench.rounds.comparison import (
    CORRECT,
    LOWER_IS_BETTER,
    Change,
    Comparison,
    ModelFigures,
)
from workbench.rounds.head_to_head import HeadToHead
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.intervals import LEVEL, Estimate, wilson

PEOPLE = "people"
DECIDING = (
    PEOPLE,
    CORRECT,
    "held_out_loss",
    "well_formed",
    "clean",
    "dont_know_unanswerable",
    "dont_know_answerable",
    "stopped",
    "reasonings",
    "answers",
    "influence",
)
"""Measures that tell good from bad by themselves, people first; all have a key in ``Margins``."""
POWER = 0.8
"""With how many questions a round without any change is kept in that share of cases."""
MOST_NEEDED = 100_000

DIVERSITY_MEASURES = frozenset(("reasonings", "answers", "influence"))
"""A fall of these alone is no reason to drop a round."""

Outcome = Literal["better", "harmless", "within", "worse", "open"]
"""``within``: surely worse, yet surely by less than the margin."""


class Sample(Protocol):
    """What a measure was computed from."""

    def interval(self, level: float) -> Estimate:
        """Return the change, or the share of points, with its interval."""
        ...

    def reach(self, n: int, level: float) -> float:
        """Return how far down ``n`` questions would reach if nothing had changed."""
        ...

    @property
    def deviation(self) -> float:
        """Standard deviation of a question."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureEvidence:
    """One measure that decides, before it is settled."""

    measure: str
    margin: float | None
    n_questions: int
    n_raters: int | None
    sample: Sample

    def found(self, level: float) -> Estimate:
        """Return the change with its interval; of points of people what they are above ½."""
        found = self.sample.interval(level)
        if self.measure != PEOPLE:
            return found
        low, high = (None if end is None else end - 0.5 for end in (found.low, found.high))
        return Estimate(found.value - 0.5, low, high)

    def reaches(self, level: float) -> tuple[float, float] | None:
        """Return both ends of the interval, up for the better; None where there are none."""
        found = self.found(level)
        if found.low is None or found.high is None:
            return None
        if self.measure in LOWER_IS_BETTER:
            return -found.high, -found.low
        return found.low, found.high

    def is_harmless(self, level: float) -> bool:
        """Whether it is surely not worse than the margin allows."""
        ends = self.reaches(level)
        return ends is not None and self.margin is not None and ends[0] > -self.margin

    def is_changed(self, level: float) -> bool:
        """Whether the interval leaves no room for "no change"."""
        ends = self.reaches(level)
        return ends is not None and (ends[0] > 0 or ends[1] < 0)

    def needed(self, level: float, power: float) -> int | None:
        """Return how many questions would show no harm with ``power``.

        It is asked what would do if nothing had changed; where so many were asked already, what
        would do if the change is the one that was seen. None without a margin, and where no number
        that anybody asks would do.
        """
        if self.margin is None:
            return None
        unchanged = self._needed(self.margin, level, power)
        if unchanged is None or unchanged > self.n_questions:
            return unchanged
        seen = self.found(level).value
        fall = max(0.0, seen if self.measure in LOWER_IS_BETTER else -seen)
        return self._needed(self.margin - fall, level, power)

    def _needed(self, room: float, level: float, power: float) -> int | None:
        beyond = float(special.ndtri(power)) * self.sample.deviation
        too_low, high_enough = 1, MOST_NEEDED
        while high_enough - too_low > 1:
            middle = (too_low + high_enough) // 2
            if self.sample.reach(middle, level) + beyond / middle**0.5 < room:
                high_enough = middle
            else:
                too_low = middle
        return None if high_enough == MOST_NEEDED else high_enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One measure that decides, with all that a page or a file tells of it."""

    measure: str
    outcome: Outcome
    value: float
    """The change; of people what their share of points is above ½."""
    low: float | None
    high: float | None
    level: float
    """Of the end of the interval towards harm."""
    level_of_change: float
    """Of the other end; of both where it is better."""
    margin: float | None
    n_questions: int
    n_needed: int | None = None
    """About how many questions would do, where this is open."""
    n_raters: int | None = None

    @property
    def is_for_these_raters(self) -> bool:
        """Whether too few people judged for it to tell of others."""
        return self.n_raters is not None and self.n_raters < MIN_RATERS

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def settle(
    comparison: Comparison, own: ModelFigures, margins: Mapping[str, float | None]
) -> list[Settled]:
    """Return what is known of each measure that was taken, in the order in which they decide."""
    evidence = _evidence(comparison, own, margins)
    required = [one for one in evidence if one.margin is not None]
    changed = _holm(evidence, MeasureEvidence.is_changed)
    harmless = _holm(required, MeasureEvidence.is_harmless)
    settled = {
        one.measure: _settled(
            one,
            changed[one.measure],
            harmless.get(one.measure, changed[one.measure]),
            len(required),
        )
        for one in evidence
    }
    return [settled[name] for name in DECIDING if name in settled]


def _evidence(
    comparison: Comparison, own: ModelFigures, margins: Mapping[str, float | None]
) -> list[MeasureEvidence]:
    first = comparison.models[0].model
    found = [
        MeasureEvidence(
            measure=PEOPLE,
            margin=margins.get(PEOPLE),
            n_questions=result.n_questions,
            n_raters=result.n_raters,
            sample=result.sample,
        )
        for result in comparison.duels
        if (result.raters, result.model, result.against) == ("person", own.model, first)
    ]
    return found + [
        MeasureEvidence(
            measure=change.measure,
            margin=margins.get(change.measure),
            n_questions=change.n_questions,
            n_raters=None,
            sample=change.sample,
        )
        for change in own.changes
        if change.measure in DECIDING
    ]


def _holm(
    evidence: Sequence[MeasureEvidence], is_clear: Callable[[MeasureEvidence, float], bool]
) -> dict[str, float]:
    """Return the level at which each measure was settled, or at which it stayed open."""
    left, levels = list(evidence), {}
    while left:
        level = 1 - (1 - LEVEL) / len(left)
        clear = [one for one in left if is_clear(one, level)]
        levels.update({one.measure: level for one in clear or left})
        left = [one for one in left if one not in clear] if clear else []
    return levels


def _settled(one: MeasureEvidence, of_change: float, of_harm: float, n_required: int) -> Settled:
    outcome = _outcome(one, of_change, of_harm)
    change, harm = one.found(of_change), one.found(of_change if outcome == "better" else of_harm)
    low, high = harm.low, change.high
    if one.measure in LOWER_IS_BETTER:
        low, high = change.low, harm.high
    n_needed = None
    if outcome == "open" and one.margin is not None:
        strictest, power = 1 - (1 - LEVEL) / n_required, 1 - (1 - POWER) / n_required
        n_needed = one.needed(strictest, power)
    return Settled(
        measure=one.measure,
        outcome=outcome,
        value=change.value,
        low=low,
        high=high,
        level=of_harm,
        level_of_change=of_change,
        margin=one.margin,
        n_questions=one.n_questions,
        n_needed=n_needed,
        n_raters=one.n_raters,
    )


def _outcome(one: MeasureEvidence, of_change: float, of_harm: float) -> Outcome:
    ends = one.reaches(of_change)
    if ends is None:
        return "open"
    if ends[0] > 0:
        return "better"
    if one.is_harmless(of_harm):
        return "within" if ends[1] < 0 else "harmless"
    return "worse" if ends[1] < 0 else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class WinCount:
    """How often a model was better than the first one, worse, or neither, by one measure."""

    measure: str
    """``people`` and ``model_raters`` of blind comparisons."""
    against: str
    n_won: int
    n_tied: int
    n_lost: int
    """Questions; of blind comparisons judgements."""
    won: Estimate
    """Share of the questions, with its interval (Wilson's; of blind comparisons theirs)."""
    tied: Estimate
    lost: Estimate
    n_questions: int
    n_raters: int | None


MODEL_RATERS = "model_raters"


def wins_of(comparison: Comparison, model_id: int | None) -> list[WinCount]:
    """Return what a model won, tied and lost: blind comparisons first, then what decides.

    Questions tie where a measure differs by less than its resolution.
    """
    own = next((one for one in comparison.models[1:] if one.model_id == model_id), None)
    if own is None:
        return []
    first = comparison.models[0].model
    counts = [
        _judged(duel)
        for duel in comparison.duels
        if {duel.model, duel.against} == {own.model, first}
    ]
    changes = {change.measure: change for change in own.changes}
    return counts + [_by_question(changes[name], first) for name in DECIDING if name in changes]


def _judged(duel: HeadToHead) -> WinCount:
    points = duel.sample.points
    return WinCount(
        measure=PEOPLE if duel.raters == "person" else MODEL_RATERS,
        against=duel.against,
        n_won=sum(one == 1.0 for one in points),
        n_tied=sum(one == 0.5 for one in points),
        n_lost=sum(one == 0.0 for one in points),
        won=duel.won,
        tied=duel.tied,
        lost=duel.lost,
        n_questions=duel.n_questions,
        n_raters=duel.n_raters,
    )


def _by_question(change: Change, against: str) -> WinCount:
    sample = change.sample
    gains = np.array(sample.after) - np.array(sample.before)
    if change.measure in LOWER_IS_BETTER:
        gains = -gains
    least = 0.0 if sample.is_share else sample.resolution
    tied = (np.abs(gains) < least) | np.isclose(gains, 0.0)
    won, lost = (gains > 0) & ~tied, (gains < 0) & ~tied

    def shared(hits: Any) -> Estimate:
        value = float(hits.mean())
        return Estimate(value, *wilson(value, len(gains)))

    return WinCount(
        measure=change.measure,
        against=against,
        n_won=int(won.sum()),
        n_tied=int(tied.sum()),
        n_lost=int(lost.sum()),
        won=shared(won),
        tied=shared(tied),
        lost=shared(lost),
        n_questions=len(gains),
        n_raters=None,
    )
