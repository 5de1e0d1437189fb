"""The model makes one reasoning out of two (``ensemble``) and answers from it at once."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.jobs import JobRow, recent_jobs
from db.questions import get_question
from db.tables import ReasoningVariant, VariantParent
from serving.formats.library import Registry
from serving.sweeps.spec import SweepSpec, parse_spec
from workbench.rating.editing import run_soon, setting_of


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
