"""What the model wrote in one step, and what went wrong."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import EventRow
from db.jobs import JobEnd
from db.messages import Message
from db.sweeps import failure_reasons, get_sweep
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


MAX_REASONS = 3
"""Different reasons of failed texts that are stored with a step; the rest is in its sweep."""


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


def engine_problems(session: Session, step: EventRow, end: JobEnd) -> list[str]:
    """Return why some of a step's texts did not come, in sentences; ``end`` is its job's."""
    sweep = get_sweep(session, step.payload["sweep_id"])
    why = end.error or sweep.error
    problems = [why] if why else []
    if not why and "cancelled" in (end.state, sweep.state):
        problems.append("It was stopped before everything had come.")
    missing = sweep.failed + sweep.blocked
    if missing:
        reasons = failure_reasons(session, sweep.sweep_id)[:MAX_REASONS]
        template = "{n} of {most} texts failed. {why}" if reasons else "{n} of {most} texts failed."
        first, *others = map(str, reasons or [""])
        problems.append(Message(template, n=missing, most=sweep.n_slots, why=first))
        problems += others
    return list(dict.fromkeys(problems))
