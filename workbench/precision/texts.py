"""The texts that precisions are compared on: sweeps that ask them, and what came of these."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.identity import AS_STORED, Precision, json_hash
from db.models import ModelRow
from db.sweeps import sweep_plan
from db.tables import Answer, Generation, Sampling, Sweep, SweepGeneration
from serving.formats.library import Registry
from serving.models.as_served import as_served, stored_version
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.selection import chosen_model, select_questions
from serving.sweeps.spec import QuestionSelection, parse_spec
from workbench.precision.spec import KIND, CompareSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One version and the sweep in which it is asked."""

    model: ModelRow
    precision: Precision
    sweep_id: int
    n_slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerText:
    """An answer to a question."""

    question_id: int
    text: str
    is_ended: bool
    """It was not cut off."""


def prepare(session: Session, registry: Registry, spec: CompareSpec) -> list[Asked]:
    """Write the sweeps that the comparison needs; that of the 16-bit weights is the first.

    Those write every answer twice: without chance, to compare texts, and at temperature 1, as the
    text on which likelihoods are compared.

    Raises:
        UsageError: A name stands for nothing, the model is not in 16 bit, or questions are few.
    """
    stored = stored_version(session, chosen_model(session, spec.model))
    ids = _questions(session, registry, spec.questions)
    found = []
    for precision in (AS_STORED, *spec.others):
        model = as_served(session, stored, precision)
        temperatures = (0.0, 1.0) if precision == AS_STORED else (0.0,)
        sweep_id = _sweep(session, registry, spec, ids, f"{stored.name}@{precision}", temperatures)
        n_slots = len(ids) * len(temperatures)
        found.append(Asked(model=model, precision=precision, sweep_id=sweep_id, n_slots=n_slots))
    return found


def _questions(session: Session, registry: Registry, limit: int) -> list[int]:
    roles = {reference.rpartition("@")[0] for reference in registry.roles}
    held_out = select_questions(session, QuestionSelection(held_out=True, limit=limit), roles)
    others = select_questions(session, QuestionSelection(limit=limit), roles)
    found = list(dict.fromkeys([*held_out, *others]))[:limit]
    if len(found) < 2:
        raise UsageError(
            "A comparison needs two questions at least; import some: `q2q question import FILE`."
        )
    return sorted(found)


def _sweep(
    session: Session,
    registry: Registry,
    spec: CompareSpec,
    ids: Sequence[int],
    model: str,
    temperatures: Sequence[float],
) -> int:
    """Return the sweep, written at first sight: a job that is begun again goes on with it."""
    asked = parse_spec(
        {
            "name": f"precision of {model}",
            "questions": {"ids": list(ids)},
            "formats": [spec.format],
            "modes": ["vanilla"],
            "models": [model],
            "answers": 1,
            "answer_sampling": [
                {"temperature": one, "top_p": 1.0, "max_tokens": spec.max_tokens}
                for one in temperatures
            ],
        }
    )
    plan = plan_sweep(session, asked, registry)
    resolved = plan.resolved.model_dump(mode="json")
    spec_hash = json_hash(asked.model_dump(mode="json"))
    same = select(Sweep.id).where(Sweep.spec_hash == spec_hash, Sweep.purpose == KIND)
    known = [one for one in session.scalars(same) if sweep_plan(session, one) == resolved]
    return known[-1] if known else save_sweep(session, plan, purpose=KIND)


def answers_of(session: Session, sweep_id: int, temperature: float) -> dict[int, AnswerText]:
    """Return question → answer of a sweep at ``temperature``; empty ones are left out."""
    rows = session.execute(
        select(Answer.question_id, Answer.text, Generation.finish_reason, Sampling.parameters)
        .join(Generation, Generation.id == Answer.generation_id)
        .join(Sampling, Sampling.id == Generation.sampling_id)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep_id)
        .order_by(Answer.question_id)
    )
    return {
        question_id: AnswerText(question_id=question_id, text=text, is_ended=reason == "stop")
        for question_id, text, reason, parameters in rows
        if parameters["temperature"] == temperature and text.strip()
    }
