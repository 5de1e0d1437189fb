"""How a step ends: what it wrote, what went wrong, and the event that tells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import EventRow, NewEvent, add_event
from db.jobs import get_job
from db.sweeps import get_sweep
from db.tables import Generation, Prompt, SweepGeneration


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One completion of an ask."""

    generation_id: int
    text: str
    is_cut: bool
    """The engine ended it at the limit of tokens."""
    prompt: str
    model_version_id: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What a step brought, before it is stored."""

    kind: str
    """Of the event that tells."""
    payload: Mapping[str, Any]
    also: Callable[[Session], None] | None = None
    """What else is stored with the event."""


def written(session: Session, step: EventRow) -> list[Written]:
    """Return what a step had written beside reasonings and answers, oldest first."""
    rows = session.execute(
        select(
            Generation.id,
            Generation.text,
            Generation.finish_reason,
            Prompt.text,
            Generation.model_version_id,
        )
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .join(Prompt, Prompt.id == Generation.prompt_id)
        .where(
            SweepGeneration.sweep_id == step.payload["sweep_id"],
            Generation.ok,
            Generation.kind == "questions",
        )
        .order_by(Generation.id)
    )
    return [
        Written(
            generation_id=generation_id,
            text=text or "",
            is_cut=finish_reason == "length",
            prompt=prompt,
            model_version_id=model_version_id,
        )
        for generation_id, text, finish_reason, prompt, model_version_id in rows
    ]


def engine_problems(session: Session, step: EventRow) -> list[str]:
    """Return why some of a step's texts did not come, in sentences."""
    sweep = get_sweep(session, step.payload["sweep_id"])
    problems = [sweep.error] if sweep.error else []
    if sweep.state == "cancelled":
        told = get_job(session, step.payload["job_id"]).error
        problems.append(told or "It was stopped before everything had come.")
    errors = session.scalars(
        select(Generation.error)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep.sweep_id, ~Generation.ok)
        .order_by(Generation.id)
    )
    missing = sweep.failed + sweep.blocked
    if missing:
        first = next((error for error in errors if error), "")
        problems.append(f"{missing} of {sweep.cells} texts failed. {first}".strip())
    return list(dict.fromkeys(problems))


def end_step(session: Session, step: EventRow, ending: Ending) -> int:
    """Add the event that tells what a step brought; return its id."""
    if ending.also is not None:
        ending.also(session)
    return add_event(
        session,
        NewEvent(
            session_id=step.session_id,
            kind=ending.kind,
            node_id=step.node_id,
            question_id=step.question_id,
            variant_id=step.variant_id,
            payload={**ending.payload, "step": step.id},
            automatic=step.automatic,
        ),
    )
