"""A person changes a reasoning, and the model answers anew from it.

An edit never touches the text that it began from: it is a reasoning of its own with an author and a
parent. New answers are a small sweep in the interactive lane, sampled like the answers that stand
under the parent, so that what differs is the reasoning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.jobs import INTERACTIVE_PRIORITY, JobRow, recent_jobs
from db.questions import get_question
from db.tables import Answer, ReasoningVariant, VariantParent
from db.texts.rows import TextRow, read_texts
from serving.engine.messages import SamplingParameters
from serving.formats.library import Registry
from serving.reasonings import parents_of
from serving.sweeps.plan import queue_sweep
from serving.sweeps.spec import SweepSpec, parse_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a text was written, and how the next ones like it are."""

    model: str
    prompt_format: str
    role: str
    sampling: SamplingParameters


def answer_again(database: Database, registry: Registry, variant_id: int, n: int) -> int:
    """Queue ``n`` more answers from a reasoning, before all other work; return the sweep's id.

    Raises:
        UsageError: There is no such reasoning, or no model to ask.
    """
    with database.write() as session:
        spec = answer_spec(session, variant_id, n)
        return run_soon(session, registry, spec, {"variant_id": variant_id})


def run_soon(
    session: Session, registry: Registry, spec: SweepSpec, payload: Mapping[str, object]
) -> int:
    """Queue a small sweep before all other work, its job marked by ``payload``; return its id."""
    return queue_sweep(session, spec, registry, priority=INTERACTIVE_PRIORITY, payload=payload)[0]


def answer_jobs(session: Session, variant_id: int) -> list[JobRow]:
    """Return the latest jobs that ``answer_again`` queued for a reasoning, newest first."""
    jobs = recent_jobs(session)
    return [job for job in jobs if job.payload.get("variant_id") == variant_id]


def answer_spec(session: Session, variant_id: int, n: int) -> SweepSpec:
    """Return the sweep of ``n`` more answers from a reasoning."""
    variant = session.get(ReasoningVariant, variant_id)
    if variant is None:
        raise UsageError("There is no reasoning v{variant_id}.", variant_id=variant_id)
    setting = setting_of(session, variant_id)
    n_own = 0
    if setting is not None:
        ids = session.scalars(select(Answer.id).where(Answer.variant_id == variant_id)).all()
        own = read_texts(session, "answer", ids).values()
        n_own = sum(_setting(row) == setting for row in own if row.model)
    mapping: dict[str, object] = {
        "name": f"v{variant_id}",
        "questions": {"ids": [variant.question_id]},
        "modes": ["supplied"],
        "reasonings": {"ids": [variant_id]},
        "answers": n_own + n,
    }
    if setting is not None:
        mapping |= {
            "models": [setting.model],
            "formats": [setting.prompt_format],
            "answer_sampling": [setting.sampling.model_dump()],
        }
        if setting.role != get_question(session, variant.question_id).role:
            mapping["roles"] = [setting.role]
    return parse_spec(mapping)


def setting_of(session: Session, variant_id: int) -> Setting | None:
    """Return how a reasoning's answers are written: as its own, else as those of its parents.

    None where neither has an answer of a model.
    """
    line = [variant_id]
    for one in line:
        ids = session.scalars(
            select(Answer.id)
            .where(Answer.variant_id == one, Answer.generation_id.is_not(None))
            .order_by(Answer.id.desc())
            .limit(1)
        ).all()
        for row in read_texts(session, "answer", ids).values():
            return _setting(row)
        line += [parent for parent in parents_of(session, one) if parent not in line]
    return None


def _setting(row: TextRow) -> Setting:
    assert row.model is not None
    assert row.prompt_format is not None
    known = {
        key: value
        for key, value in (row.sampling or {}).items()
        if key in SamplingParameters.model_fields and key != "seed"
    }
    return Setting(
        model=row.model,
        prompt_format=row.prompt_format,
        role=row.role,
        sampling=SamplingParameters.model_validate(known),
    )


def merge_by_model(
    database: Database, registry: Registry, variant_ids: Sequence[int], n_answers: int
) -> int:
    """Queue one reasoning out of two, with answers to it; return the sweep's id.

    Raises:
        UsageError: They are not two reasonings of one question, or there is no model to ask.
    """
    with database.write() as session:
        spec = merge_spec(session, variant_ids, n_answers)
        return run_soon(session, registry, spec, {"merge_of": sorted(variant_ids)})


def merge_spec(session: Session, variant_ids: Sequence[int], n_answers: int) -> SweepSpec:
    """Return the sweep of one more merge of two reasonings, sampled like their answers."""
    ids = sorted(set(variant_ids))
    questions = set(
        session.scalars(select(ReasoningVariant.question_id).where(ReasoningVariant.id.in_(ids)))
    )
    if len(ids) != 2 or len(questions) != 1:
        raise UsageError("A merge is made of two reasonings of one question.")
    question = get_question(session, questions.pop())
    mapping: dict[str, object] = {
        "name": f"v{ids[0]} + v{ids[1]}",
        "questions": {"ids": [question.id]},
        "modes": ["ensemble"],
        "reasonings": {"ids": ids},
        "variants": len(merged(session, ids)) + 1,
        "answers": n_answers,
    }
    setting = setting_of(session, ids[0]) or setting_of(session, ids[1])
    if setting is not None:
        sampling = [setting.sampling.model_dump()]
        mapping |= {"models": [setting.model], "formats": [setting.prompt_format]}
        mapping |= {"reasoning_sampling": sampling, "answer_sampling": sampling}
        if setting.role != question.role:
            mapping["roles"] = [setting.role]
    return parse_spec(mapping)


def merged(session: Session, variant_ids: Sequence[int]) -> list[int]:
    """Return the reasonings that a model made of exactly these two, oldest first."""
    both = (
        select(VariantParent.variant_id)
        .where(VariantParent.parent_id.in_(variant_ids))
        .group_by(VariantParent.variant_id)
        .having(func.count() == 2)
    )
    query = select(ReasoningVariant.id).where(
        ReasoningVariant.id.in_(both), ReasoningVariant.source == "model"
    )
    return list(session.scalars(query.order_by(ReasoningVariant.id)))


def merge_jobs(session: Session, variant_ids: Sequence[int]) -> list[JobRow]:
    """Return the latest jobs that ``merge_by_model`` queued for two reasonings, newest first."""
    wanted = sorted(variant_ids)
    return [job for job in recent_jobs(session) if job.payload.get("merge_of") == wanted]
