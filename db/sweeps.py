"""Sweeps by meaning: written, found, counted, moved from state to state; why slots failed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, select, update
from sqlalchemy.orm import Session, aliased

from db.counts import cached_count, is_counted
from db.errors import existing
from db.identity import json_hash
from db.messages import Message
from db.store.archive import in_use
from db.tables import Answer, Generation, Sweep, SweepGeneration, utc_now

ENDED = ("done", "cancelled", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One sweep and how far it is; safe to use after the session is closed.

    Slots that no count names are still to be run.
    """

    sweep_id: int
    name: str
    purpose: str
    state: str
    spec: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    active_s: float
    error: str | None
    archived_at: datetime | None
    max_tokens: int | None
    """Its budget: tokens of prompts and completions that it may take."""
    max_cost: float | None
    """The same in US dollars."""
    spent_tokens: int
    """By the usage of its own requests."""
    spent_cost: float
    """In US dollars, as far as prices are known."""
    n_slots: int
    """All slots."""
    done: int
    """Slots that have a text."""
    failed: int
    """Slots of which every attempt failed."""
    blocked: int
    """Answer slots whose reasoning failed."""
    variants: int
    answers: int
    completion_tokens: int | None
    """As far as servers tell; None where there are texts and none told its length."""
    made_here: int
    """Of the done slots, those that this sweep sampled itself."""

    @property
    def pending(self) -> int:
        """Slots that a resume would run."""
        return max(0, self.n_slots - self.done - self.failed - self.blocked)


def create_sweep(
    session: Session,
    *,
    name: str,
    spec: Mapping[str, Any],
    plan: Mapping[str, Any],
    n_reasoning_slots: int,
    n_answer_slots: int,
    purpose: str = "sweep",
) -> int:
    """Write a planned sweep and return its id."""
    sweep = Sweep(
        name=name,
        purpose=purpose,
        spec=dict(spec),
        spec_hash=spec_hash(spec),
        max_tokens=spec.get("max_tokens"),
        max_cost=spec.get("max_cost"),
        plan=dict(plan),
        n_reasoning_slots=n_reasoning_slots,
        n_answer_slots=n_answer_slots,
    )
    session.add(sweep)
    session.flush()
    return sweep.id


BUDGET = ("max_tokens", "max_cost")


def spec_hash(spec: Mapping[str, Any]) -> str:
    """Return what a spec is found again by: with a larger budget, a sweep goes on."""
    return json_hash({name: value for name, value in spec.items() if name not in BUDGET})


def find_same(session: Session, spec: Mapping[str, Any], plan: Mapping[str, Any]) -> int | None:
    """Return the newest sweep of this spec whose names stood for the same things."""
    same_spec = session.scalars(
        select(Sweep.id)
        .where(Sweep.spec_hash == spec_hash(spec), Sweep.purpose == "sweep")
        .order_by(Sweep.id.desc())
    ).all()
    return next((one for one in same_spec if sweep_plan(session, one) == plan), None)


def get_sweep(session: Session, sweep_id: int) -> SweepRow:
    """Return one sweep with its counts.

    Raises:
        UsageError: There is none with this id.
    """
    found = session.execute(_sweeps().where(Sweep.id == sweep_id)).one_or_none()
    return _row(session, existing(found, _missing(sweep_id)))


def list_sweeps(
    session: Session, limit: int = 50, *, purpose: str | None = "sweep", archived: bool = False
) -> list[SweepRow]:
    """Return sweeps with their counts, newest first; ``purpose=None`` lists the small ones too."""
    query = _sweeps().where(in_use(Sweep, archived)).order_by(Sweep.id.desc()).limit(limit)
    if purpose is not None:
        query = query.where(Sweep.purpose == purpose)
    return [_row(session, found) for found in session.execute(query)]


def sweep_names(session: Session, limit: int) -> dict[int, str]:
    """Return the names of the newest sweeps that people started, newest first."""
    newest = select(Sweep.id, Sweep.name).where(Sweep.purpose == "sweep", in_use(Sweep))
    rows = session.execute(newest.order_by(Sweep.id.desc()).limit(limit))
    return {row.id: row.name for row in rows}


def sweeps_counted(session: Session, limit: int = 50) -> bool:
    """Tell whether `list_sweeps` answers at once; texts are first counted in the background."""
    newest = session.scalar(select(func.max(Sweep.id)))
    return is_counted(session, ("sweeps", newest), lambda own: list_sweeps(own, limit))


def sweep_plan(session: Session, sweep_id: int) -> Mapping[str, Any]:
    """Return what the names of a sweep stood for; large where the sweep has many questions.

    Raises:
        UsageError: There is no sweep with this id.
    """
    plan: Mapping[str, Any] | None = session.scalar(select(Sweep.plan).where(Sweep.id == sweep_id))
    return existing(plan, _missing(sweep_id))


def _missing(sweep_id: int) -> str:
    return f"There is no sweep {sweep_id}; `q2q sweep list` shows them all."


def set_state(session: Session, sweep_id: int, state: str, *, error: str | None = None) -> None:
    """Move a sweep to ``state``; notes when it first started and when it ended."""
    values: dict[str, Any] = {"state": state, "error": error}
    values["finished_at"] = utc_now() if state in ENDED else None
    if state == "running":
        values["started_at"] = func.coalesce(Sweep.started_at, utc_now())
    session.execute(update(Sweep).where(Sweep.id == sweep_id).values(values))


def add_active_time(session: Session, sweep_id: int, seconds: float) -> None:
    """Add to the time in which a sweep ran."""
    session.execute(
        update(Sweep).where(Sweep.id == sweep_id).values(active_s=Sweep.active_s + seconds)
    )


def set_budget(
    session: Session, sweep_id: int, *, max_tokens: int | None, max_cost: float | None
) -> None:
    """Write what a sweep may take from now on, what it has taken already included."""
    values = {"max_tokens": max_tokens, "max_cost": max_cost}
    session.execute(update(Sweep).where(Sweep.id == sweep_id).values(values))


def budget_of(session: Session, sweep_id: int) -> tuple[int | None, float | None]:
    """Return the tokens and the US dollars that a sweep may take."""
    query = select(Sweep.max_tokens, Sweep.max_cost).where(Sweep.id == sweep_id)
    max_tokens, max_cost = session.execute(query).one()
    return max_tokens, max_cost


def add_spent(session: Session, sweep_id: int, tokens: int, cost: float) -> None:
    """Add what requests of a sweep have taken."""
    values = {"spent_tokens": Sweep.spent_tokens + tokens, "spent_cost": Sweep.spent_cost + cost}
    session.execute(update(Sweep).where(Sweep.id == sweep_id).values(values))


_MOVING = ("queued", "running")
"""States in which texts may be added."""


def _sweeps() -> Select[Any]:
    """Everything of a sweep but its plan, which may be large."""
    return select(
        Sweep.id.label("sweep_id"),
        Sweep.name,
        Sweep.purpose,
        Sweep.state,
        Sweep.spec,
        Sweep.created_at,
        Sweep.started_at,
        Sweep.finished_at,
        Sweep.active_s,
        Sweep.error,
        Sweep.archived_at,
        Sweep.max_tokens,
        Sweep.max_cost,
        Sweep.spent_tokens,
        Sweep.spent_cost,
        (Sweep.n_reasoning_slots + Sweep.n_answer_slots).label("n_slots"),
    )


def _row(session: Session, found: Row[Any]) -> SweepRow:
    mark = sweep_mark(session, found.sweep_id)
    counts = cached_count(
        session,
        ("sweep", found.sweep_id),
        mark,
        lambda: _count(session, found.sweep_id, found.spec),
        is_moving=mark[1],
    )
    return SweepRow(**found._mapping, **counts)


def sweep_mark(session: Session, sweep_id: int) -> tuple[Any, ...]:
    """Return what changes with all that a sweep shows; its second value tells whether it runs."""
    newest = (
        select(func.max(SweepGeneration.generation_id))
        .where(SweepGeneration.sweep_id == Sweep.id)
        .scalar_subquery()
    )
    columns = (Sweep.state, Sweep.state.in_(_MOVING), Sweep.finished_at, Sweep.active_s, newest)
    return tuple(session.execute(select(*columns).where(Sweep.id == sweep_id)).one())


def _count(session: Session, sweep_id: int, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Count what a sweep has, without listing its slots."""
    counts = session.execute(
        select(
            Generation.kind,
            Generation.ok,
            SweepGeneration.made_here,
            func.count(),
            func.sum(Generation.completion_tokens),
        )
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep_id)
        .group_by(Generation.kind, Generation.ok, SweepGeneration.made_here)
    ).all()
    good: list[Any] = [row for row in counts if row[1]]
    is_one_pass = any(row[0] == "whole" for row in good)
    n_in_one_pass = _answers_in_one_pass(session, sweep_id) if is_one_pass else 0
    failed = _failed(session, sweep_id) if len(good) < len(counts) else {}
    return {
        "done": sum(row[3] for row in good),
        "failed": sum(failed.values()),
        "blocked": failed.get("reasoning", 0) * _answers_per_reasoning(spec),
        "variants": sum(row[3] for row in good if row[0] != "answer"),
        "answers": sum(row[3] for row in good if row[0] == "answer") + n_in_one_pass,
        "completion_tokens": _known_sum([row[4] for row in good]),
        "made_here": sum(row[3] for row in good if row[2]),
    }


def _known_sum(values: Sequence[int | None]) -> int | None:
    """Add up what is known; None where there are values and none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known or not values else None


def _answers_in_one_pass(session: Session, sweep_id: int) -> int:
    """Count the answers that came in one completion with their reasoning."""
    counted = session.scalar(
        select(func.count())
        .select_from(Answer)
        .join(Generation, Generation.id == Answer.generation_id)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep_id, Generation.kind == "whole")
    )
    return counted or 0


def _uncured(sweep_id: int) -> ColumnElement[bool]:
    """Return the condition that a failed attempt of a sweep has no good one in any sweep."""
    other = aliased(Generation)
    cured = select(other.id).where(other.slot_key == Generation.slot_key, other.ok).exists()
    return and_(SweepGeneration.sweep_id == sweep_id, ~Generation.ok, ~cured)


def _failed(session: Session, sweep_id: int) -> dict[str, int]:
    """Count slots of which no attempt of any sweep was good, by kind."""
    rows = session.execute(
        select(Generation.kind, func.count(Generation.slot_key.distinct()))
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(_uncured(sweep_id))
        .group_by(Generation.kind)
    )
    return {row[0]: row[1] for row in rows}


def _answers_per_reasoning(spec: Mapping[str, Any]) -> int:
    """Return the answer slots under one reasoning: they are blocked where it failed."""
    models = spec.get("answer_models")
    n_levels = len(spec.get("answer_sampling", (None,))) * (len(models) if models else 1)
    return int(spec.get("answers", 0)) * n_levels


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
        return Message("{n:,} × {why}", n=self.n, why=self.error)


def group_reasons(errors: Iterable[tuple[str | None, int]]) -> tuple[FailureReason, ...]:
    """Return (error, count) the commonest first; those that differ in numbers alone are one."""
    found: dict[str, tuple[str, int]] = {}
    for error, n in errors:
        shown = _once(error or NO_REASON)
        key = _NUMBER.sub("#", shown)
        first, known = found.get(key, (shown, 0))
        found[key] = (first, known + n)
    reasons = [FailureReason(n, error) for error, n in found.values()]
    return tuple(sorted(reasons, key=lambda one: -one.n))


def _once(error: str) -> str:
    """Return why a request failed without how often it was tried."""
    if isinstance(error, Message) and error.template.endswith(" Tried {n} times."):
        return str(error.values["problem"])
    return _TRIED.sub("", error)


def failure_reasons(session: Session, sweep_id: int) -> tuple[FailureReason, ...]:
    """Return why slots of a sweep failed, by their last attempt; what was cured is left out."""
    mark = sweep_mark(session, sweep_id)
    return cached_count(
        session,
        ("failures", sweep_id),
        mark,
        lambda: group_reasons(_errors(session, sweep_id)),
        is_moving=mark[1],
    )


def _errors(session: Session, sweep_id: int) -> Iterable[tuple[str | None, int]]:
    later, linked = aliased(Generation), aliased(SweepGeneration)
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
        .where(_uncured(sweep_id), ~tried_again)
        .group_by(Generation.error)
        .order_by(func.count().desc(), Generation.error)
    )
    return [(row[0], row[1]) for row in rows]
