"""Which item is dealt next: the one that teaches most, or any.

The value of a comparison is the variance of its outcome times how little is known of its two sides:
``p (1 - p) (1 / (n_a + 1) + 1 / (n_b + 1))``, where ``n`` counts the comparisons of a side so far,
and ``p`` is the share of points that side a would take from side b, by their shares of points (won
1, tied ½, one of each imagined to begin with). It is the expected gain of a Bradley-Terry model at
a diagonal Fisher information: see Chen, Bennett, Collins-Thompson and Horvitz, "Pairwise Ranking
Aggregation in a Crowdsourced Setting" (2013), for the idea of choosing comparisons by what they
teach. Since choice depends on ratings, shares of wins over raters' queues are biased; the estimates
of ``workbench.insights`` allow for it (measured: docs/insights.md).
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from db.rating.assignment import candidates
from db.rating.queues import ItemRow, QueueRow
from db.rating.ratings import PREFERENCE, Scope, Target, active_ratings, of_repeat
from db.tables import Rating

Sampler = Literal["informative", "random"]
SAMPLERS: tuple[Sampler, ...] = ("informative", "random")
N_CANDIDATES = 48
"""Items looked at for one card: enough to find a good one, few enough to stay instant."""

_POINTS = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5), "both_bad": (0.5, 0.5)}


@dataclass(slots=True)
class PointsRecord:
    """How one text did in its comparisons so far."""

    points: float = 1.0
    n: int = 0

    @property
    def share(self) -> float:
        """Its share of points, the imagined ones included."""
        return self.points / (self.n + 2)


def gain(a: PointsRecord, b: PointsRecord) -> float:
    """Return what a comparison of two texts with these records would teach."""
    p = a.share / (a.share + b.share)
    return p * (1 - p) * (1 / (a.n + 1) + 1 / (b.n + 1))


def choose(session: Session, queue: QueueRow, rater_id: int, sampler: Sampler) -> ItemRow | None:
    """Return the item to deal next; None where the queue has none left for this rater."""
    found = candidates(session, queue, rater_id, N_CANDIDATES if sampler == "informative" else 1)
    if sampler == "random" or len(found) < 2:
        return found[0] if found else None
    if queue.way == "pair":
        gains = _pair_gains(session, queue.scope, found)
    else:
        gains = _single_gains(session, queue.scope, found)
    best = max(gains)
    return random.choice([item for item, gain in zip(found, gains, strict=True) if gain == best])


def _pair_gains(session: Session, scope: Scope, items: Sequence[ItemRow]) -> list[float]:
    sides = [target for item in items for target in (item.target, item.other) if target]
    records = _records(session, scope, sides)
    gains = []
    for item in items:
        assert item.other is not None
        a, b = (records[_key(scope, target)] for target in (item.target, item.other))
        gains.append(gain(a, b))
    return gains


def _single_gains(session: Session, scope: Scope, items: Sequence[ItemRow]) -> list[float]:
    """Return more for what has fewer ratings."""
    column = Rating.variant_id if scope == "reasoning" else Rating.answer_id
    if scope == "question":
        column = Rating.question_id
    wanted = [_key(scope, item.target) for item in items]
    query = active_ratings().where(Rating.scope == scope, column.in_(wanted))
    counts = Counter(session.scalars(query.with_only_columns(column)))
    return [-float(counts[key]) for key in wanted]


def _records(session: Session, scope: Scope, targets: Sequence[Target]) -> dict[int, PointsRecord]:
    first, other = (
        (Rating.variant_id, Rating.other_variant_id)
        if scope == "reasoning"
        else (Rating.answer_id, Rating.other_answer_id)
    )
    keys = {_key(scope, target) for target in targets}
    records = {key: PointsRecord() for key in keys}
    for column in (first, other):
        query = active_ratings().where(
            Rating.axis == PREFERENCE, Rating.scope == scope, column.in_(keys), ~of_repeat()
        )
        rows = session.execute(query.with_only_columns(first, other, Rating.outcome))
        for a, b, outcome in rows:
            key, points = (a, 0) if column is first else (b, 1)
            assert key is not None
            assert outcome is not None
            records[key].points += _POINTS[outcome][points]
            records[key].n += 1
    return records


def _key(scope: Scope, target: Target) -> int:
    if scope == "question":
        return target.question_id
    key = target.variant_id if scope == "reasoning" else target.answer_id
    assert key is not None
    return key
