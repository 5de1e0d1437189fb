"""What is known of each measure that decides on a round: harmless, better, worse, or open.

One interval of each measure tells all: it is read against the margin that the round allows and
against "no change", and it is the one that pages show beside the verdict. Intervals of the measures
with a margin hold together: Holm's step-down method ("A simple sequentially rejective multiple test
procedure", 1979) gives all of them the level of Bonferroni, and those that stay open a milder one
for each that was settled. Measures without a margin are watched: the same is done among them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from scipy import stats

from workbench.analysis.duels import ENOUGH_RATERS
from workbench.analysis.resampling import LEVEL, Estimate
from workbench.analysis.rounds import LOWER_IS_BETTER, Comparison, ModelFigures

PEOPLE = "people"
DECIDING = (
    PEOPLE,
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
class Evidence:
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

    def outcome(self, level: float) -> Outcome:
        """Return what the interval of this level says."""
        found = self.found(level)
        if found.low is None or found.high is None:
            return "open"
        low, high = found.low, found.high
        if self.measure in LOWER_IS_BETTER:
            low, high = -high, -low
        if low > 0:
            return "better"
        if self.margin is not None and low > -self.margin:
            return "within" if high < 0 else "harmless"
        return "worse" if high < 0 else "open"

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
        beyond = float(stats.norm.ppf(power)) * self.sample.deviation
        few, many = 1, MOST_NEEDED
        while many - few > 1:
            middle = (few + many) // 2
            if self.sample.reach(middle, level) + beyond / middle**0.5 < room:
                many = middle
            else:
                few = middle
        return None if many == MOST_NEEDED else many


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
    """Of this interval, between ``low`` and ``high``."""
    margin: float | None
    n_questions: int
    n_needed: int | None = None
    """About how many questions would do, where this is open."""
    n_raters: int | None = None

    @property
    def is_for_these_raters(self) -> bool:
        """Whether too few people judged for it to tell of others."""
        return self.n_raters is not None and self.n_raters < ENOUGH_RATERS

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def settle(
    comparison: Comparison, own: ModelFigures, margins: Mapping[str, float | None]
) -> list[Settled]:
    """Return what is known of each measure that was taken, in the order in which they decide."""
    evidence = _evidence(comparison, own, margins)
    settled = {
        one.measure: one
        for some in (
            [one for one in evidence if one.margin is not None],
            [one for one in evidence if one.margin is None],
        )
        for one in _holm(some)
    }
    return [settled[name] for name in DECIDING if name in settled]


def _evidence(
    comparison: Comparison, own: ModelFigures, margins: Mapping[str, float | None]
) -> list[Evidence]:
    first = comparison.models[0].model
    found = [
        Evidence(
            measure=PEOPLE,
            margin=margins.get(PEOPLE),
            n_questions=duel.n_questions,
            n_raters=duel.n_raters,
            sample=duel.sample,
        )
        for duel in comparison.duels
        if (duel.raters, duel.model, duel.against) == ("person", own.model, first)
    ]
    return found + [
        Evidence(
            measure=change.measure,
            margin=margins.get(change.measure),
            n_questions=change.n_questions,
            n_raters=None,
            sample=change.sample,
        )
        for change in own.changes
        if change.measure in DECIDING
    ]


def _holm(evidence: Sequence[Evidence]) -> list[Settled]:
    """Settle measures step by step, each step at the level for those that are left."""
    left = list(evidence)
    settled: list[Settled] = []
    while left:
        level = 1 - (1 - LEVEL) / len(left)
        clear = [one for one in left if one.outcome(level) != "open"]
        if not clear:
            strictest = 1 - (1 - LEVEL) / len(evidence)
            power = 1 - (1 - POWER) / len(evidence)
            return settled + [_settled(one, level, one.needed(strictest, power)) for one in left]
        settled += [_settled(one, level) for one in clear]
        left = [one for one in left if one not in clear]
    return settled


def _settled(one: Evidence, level: float, n_needed: int | None = None) -> Settled:
    found = one.found(level)
    return Settled(
        measure=one.measure,
        outcome=one.outcome(level),
        value=found.value,
        low=found.low,
        high=found.high,
        level=level,
        margin=one.margin,
        n_questions=one.n_questions,
        n_needed=n_needed,
        n_raters=one.n_raters,
    )
