"""Why slots failed: the errors of a sweep's failed slots, those that say the same as one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from db.counts import remembered
from db.sweeps import sweep_mark
from db.tables import Generation, SweepGeneration

_TRIED = re.compile(r" Tried \d+ times\.$")
_NUMBER = re.compile(r"(?<!HTTP )(?<![\w.])\d[\d.,]*")
NO_REASON = "no reason is on record"


@dataclass(frozen=True, slots=True)
class FailureReason:
    """One reason and how many failed for it."""

    n: int
    error: str
    """As the first of them says it; numbers in the others may differ."""

    def __str__(self) -> str:
        return f"{self.n:,} × {self.error}"


def group_reasons(errors: Iterable[tuple[str | None, int]]) -> tuple[FailureReason, ...]:
    """Return (error, count) the commonest first; those that differ in numbers alone are one."""
    found: dict[str, tuple[str, int]] = {}
    for error, n in errors:
        shown = _TRIED.sub("", error or NO_REASON)
        key = _NUMBER.sub("#", shown)
        first, known = found.get(key, (shown, 0))
        found[key] = (first, known + n)
    reasons = [FailureReason(n, error) for error, n in found.values()]
    return tuple(sorted(reasons, key=lambda one: -one.n))


def failure_reasons(session: Session, sweep_id: int) -> tuple[FailureReason, ...]:
    """Return why slots of a sweep failed, by their last attempt; what was cured is left out."""
    mark = sweep_mark(session, sweep_id)
    return remembered(
        session,
        ("failures", sweep_id),
        mark,
        lambda: group_reasons(_errors(session, sweep_id)),
        is_moving=mark[1],
    )


def _errors(session: Session, sweep_id: int) -> Iterable[tuple[str | None, int]]:
    other, later, linked = aliased(Generation), aliased(Generation), aliased(SweepGeneration)
    cured = select(other.id).where(other.slot_key == Generation.slot_key, other.ok).exists()
    tried_again = (
        select(later.id)
        .join(linked, linked.generation_id == later.id)
        .where(
            linked.sweep_id == sweep_id,
            later.slot_key == Generation.slot_key,
            later.attempt > Generation.attempt,
        )
        .exists()
    )
    rows = session.execute(
        select(Generation.error, func.count())
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep_id, ~Generation.ok, ~cured, ~tried_again)
        .group_by(Generation.error)
        .order_by(func.count().desc(), Generation.error)
    )
    return [(row[0], row[1]) for row in rows]
