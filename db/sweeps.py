"""Sweeps by meaning: written, found, counted, moved from state to state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session, aliased

from db.bulk import chunks
from db.counts import first_counted, remembered
from db.errors import UsageError
from db.identity import json_hash
from db.tables import (
    Answer,
    Generation,
    Question,
    ReasoningVariant,
    Sweep,
    SweepGeneration,
    VariantParent,
    utc_now,
)

ENDED = ("done", "cancelled", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepProgress:
    """How far a sweep is. Slots that no count names are still to be run."""

    sweep_id: int
    cells: int
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
    active_s: float

    @property
    def pending(self) -> int:
        """Slots that a resume would run."""
        return max(0, self.cells - self.done - self.failed - self.blocked)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One sweep; safe to use after the session is closed."""

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
    progress: SweepProgress

    @property
    def cells(self) -> int:
        """All slots."""
        return self.progress.cells

    @property
    def done(self) -> int:
        """Slots that have a text."""
        return self.progress.done

    @property
    def failed(self) -> int:
        """Slots of which every attempt failed."""
        return self.progress.failed

    @property
    def blocked(self) -> int:
        """Answer slots whose reasoning failed."""
        return self.progress.blocked


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
        spec_hash=json_hash(spec),
        plan=dict(plan),
        n_reasoning_slots=n_reasoning_slots,
        n_answer_slots=n_answer_slots,
    )
    session.add(sweep)
    session.flush()
    return sweep.id


def get_sweep(session: Session, sweep_id: int) -> SweepRow:
    """Return one sweep with its counts.

    Raises:
        UsageError: There is none with this id.
    """
    found = session.execute(_sweeps().where(Sweep.id == sweep_id)).one_or_none()
    if found is None:
        raise UsageError(f"There is no sweep {sweep_id}; `q2q sweep list` shows them all.")
    return _row(session, found)


def list_sweeps(
    session: Session, limit: int = 50, *, purpose: str | None = "sweep"
) -> list[SweepRow]:
    """Return sweeps with their counts, newest first; ``purpose=None`` lists the small ones too."""
    query = _sweeps().order_by(Sweep.id.desc()).limit(limit)
    if purpose is not None:
        query = query.where(Sweep.purpose == purpose)
    return [_row(session, found) for found in session.execute(query)]


def sweeps_counted(session: Session, limit: int = 50) -> bool:
    """Tell whether `list_sweeps` answers at once: very many texts are counted beside first."""
    newest = session.scalar(select(func.max(Sweep.id)))
    return first_counted(session, ("sweeps", newest), lambda own: list_sweeps(own, limit))


def sweep_plan(session: Session, sweep_id: int) -> Mapping[str, Any]:
    """Return what the names of a sweep stood for; large where the sweep has many questions.

    Raises:
        UsageError: There is no sweep with this id.
    """
    plan: Mapping[str, Any] | None = session.scalar(select(Sweep.plan).where(Sweep.id == sweep_id))
    if plan is None:
        raise UsageError(f"There is no sweep {sweep_id}; `q2q sweep list` shows them all.")
    return plan


def sweep_progress(session: Session, sweep_id: int) -> SweepProgress:
    """Count what a sweep has, without listing its slots."""
    return get_sweep(session, sweep_id).progress


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


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionText:
    """What a prompt, a check and a slot key need of a question."""

    id: int
    content_hash: str
    text: str
    context: str
    reference_answer: str | None
    role: str
    language: str | None


def question_texts(session: Session, question_ids: Sequence[int]) -> list[QuestionText]:
    """Return questions in the order of ``question_ids``; those that are gone are left out."""
    columns = [getattr(Question, name) for name in QuestionText.__slots__]
    rows = session.execute(select(*columns).where(Question.id.in_(question_ids)))
    found = {row.id: QuestionText(**row._mapping) for row in rows}
    return [found[one] for one in question_ids if one in found]


def variant_texts(session: Session, variant_ids: Sequence[int]) -> dict[int, str]:
    """Return the texts of reasonings by id; those that are gone are left out."""
    texts: dict[int, str] = {}
    for part in chunks(variant_ids):
        query = select(ReasoningVariant.id, ReasoningVariant.text).where(
            ReasoningVariant.id.in_(part)
        )
        texts.update((row[0], row[1]) for row in session.execute(query))
    return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenVariant:
    """A reasoning of a sweep, with the factors that it was written at."""

    variant_id: int
    text: str
    question_id: int
    mode: str
    prompt_format_id: int
    role_id: int
    model_version_id: int
    sampling_id: int
    replicate: int
    parent_ids: tuple[int, ...]


def variants_of_sweep(
    session: Session, sweep_id: int, question_ids: Sequence[int]
) -> list[WrittenVariant]:
    """Return the reasonings of a sweep under some questions, in a fixed order."""
    query = (
        select(
            ReasoningVariant.id,
            ReasoningVariant.text,
            Generation.question_id,
            Generation.mode,
            Generation.prompt_format_id,
            Generation.role_id,
            Generation.model_version_id,
            Generation.sampling_id,
            Generation.replicate,
        )
        .join(Generation, Generation.id == ReasoningVariant.generation_id)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(
            SweepGeneration.sweep_id == sweep_id,
            Generation.question_id.in_(question_ids),
            Generation.kind == "reasoning",
        )
        .order_by(ReasoningVariant.id)
    )
    rows = session.execute(query).all()
    parents: dict[int, list[int]] = {}
    merged = [row[0] for row in rows if row.mode == "ensemble"]
    if merged:
        for variant_id, parent_id in session.execute(
            select(VariantParent.variant_id, VariantParent.parent_id)
            .where(VariantParent.variant_id.in_(merged))
            .order_by(VariantParent.position)
        ):
            parents.setdefault(variant_id, []).append(parent_id)
    return [
        WrittenVariant(
            variant_id=row[0],
            text=row[1],
            question_id=row.question_id,
            mode=row.mode,
            prompt_format_id=row.prompt_format_id,
            role_id=row.role_id,
            model_version_id=row.model_version_id,
            sampling_id=row.sampling_id,
            replicate=row.replicate,
            parent_ids=tuple(parents.get(row[0], ())),
        )
        for row in rows
    ]


_MOVING = ("queued", "running")
"""States in which texts may be added."""


def _sweeps() -> Select[Any]:
    """Everything of a sweep but its plan, which may be large."""
    return select(
        Sweep.id,
        Sweep.name,
        Sweep.purpose,
        Sweep.state,
        Sweep.spec,
        Sweep.created_at,
        Sweep.started_at,
        Sweep.finished_at,
        Sweep.active_s,
        Sweep.error,
        (Sweep.n_reasoning_slots + Sweep.n_answer_slots).label("cells"),
    )


def _row(session: Session, found: Any) -> SweepRow:
    return SweepRow(
        sweep_id=found.id,
        name=found.name,
        purpose=found.purpose,
        state=found.state,
        spec=found.spec,
        created_at=found.created_at,
        started_at=found.started_at,
        finished_at=found.finished_at,
        active_s=found.active_s,
        error=found.error,
        progress=_progress(session, found),
    )


def sweep_mark(session: Session, sweep_id: int) -> tuple[Any, ...]:
    """Return what changes with all that a sweep shows; its second value tells whether it runs."""
    newest = (
        select(func.max(SweepGeneration.generation_id))
        .where(SweepGeneration.sweep_id == Sweep.id)
        .scalar_subquery()
    )
    columns = (Sweep.state, Sweep.state.in_(_MOVING), Sweep.finished_at, Sweep.active_s, newest)
    return tuple(session.execute(select(*columns).where(Sweep.id == sweep_id)).one())


def _progress(session: Session, sweep: Any) -> SweepProgress:
    mark = sweep_mark(session, sweep.id)
    name = ("sweep", sweep.id)
    return remembered(session, name, mark, lambda: _count(session, sweep), is_moving=mark[1])


def _count(session: Session, sweep: Any) -> SweepProgress:
    tallies = session.execute(
        select(
            Generation.kind,
            Generation.ok,
            SweepGeneration.made_here,
            func.count(),
            func.sum(Generation.completion_tokens),
        )
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep.id)
        .group_by(Generation.kind, Generation.ok, SweepGeneration.made_here)
    ).all()
    good: list[Any] = [row for row in tallies if row[1]]
    is_one_pass = any(row[0] == "whole" for row in good)
    n_beside = _answers_in_one_pass(session, sweep.id) if is_one_pass else 0
    failed = _failed(session, sweep.id) if len(good) < len(tallies) else {}
    return SweepProgress(
        sweep_id=sweep.id,
        cells=sweep.cells,
        done=sum(row[3] for row in good),
        failed=sum(failed.values()),
        blocked=failed.get("reasoning", 0) * _answers_per_reasoning(sweep.spec),
        variants=sum(row[3] for row in good if row[0] != "answer"),
        answers=sum(row[3] for row in good if row[0] == "answer") + n_beside,
        completion_tokens=_known_sum([row[4] for row in good]),
        made_here=sum(row[3] for row in good if row[2]),
        active_s=sweep.active_s,
    )


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


def _failed(session: Session, sweep_id: int) -> dict[str, int]:
    """Count slots of which no attempt of any sweep was good, by kind."""
    other = aliased(Generation)
    cured = select(other.id).where(other.slot_key == Generation.slot_key, other.ok).exists()
    rows = session.execute(
        select(Generation.kind, func.count(Generation.slot_key.distinct()))
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep_id, ~Generation.ok, ~cured)
        .group_by(Generation.kind)
    )
    return {row[0]: row[1] for row in rows}


def _answers_per_reasoning(spec: Mapping[str, Any]) -> int:
    """Return the answer slots under one reasoning: they are blocked where it failed."""
    models = spec.get("answer_models")
    n_levels = len(spec.get("answer_sampling", (None,))) * (len(models) if models else 1)
    return int(spec.get("answers", 0)) * n_levels
