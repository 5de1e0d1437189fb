"""Storing what a dialogue asks of a model as a small sweep, run like any other."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.sweeps import create_sweep
from db.tables import Question
from serving.engines.sampling import SamplingParameters
from serving.formats.library import Registry
from serving.sweeps.asks import Ask, asks_as_json
from serving.sweeps.selection import select_models
from serving.sweeps.slots import ResolvedPlan, count_slots


def save_asks(
    session: Session,
    registry: Registry,
    asks: Sequence[Ask],
    *,
    model: str,
    name: str,
    purpose: str = "turn",
) -> int:
    """Write a sweep that has ``model`` write ``asks``; return its id.

    Raises:
        UsageError: There is nothing to ask, a question is gone, or the model cannot be used.
    """
    if not asks:
        raise UsageError("There is nothing to ask for; name at least one move.")
    ids = list(dict.fromkeys(ask.question_id for ask in asks))
    found = session.execute(select(Question.id, Question.role).where(Question.id.in_(ids)))
    roles = dict(found.all())
    missing = [one for one in ids if one not in roles]
    if missing:
        raise UsageError(f"There is no question q{missing[0]}.")
    models = select_models(session, [model], "model")
    plan = ResolvedPlan(
        question_ids=tuple(ids),
        formats={},
        roles={role: (registry.role(role).id,) for role in set(roles.values())},
        questions_by_role=dict(Counter(roles.values())),
        answerable_by_role={},
        model_ids=tuple(one.id for one in models),
        answer_model_ids=None,
        reasoning_sampling=(SamplingParameters(),),
        answer_sampling=(SamplingParameters(),),
        variants=1,
        answers=0,
        chosen={},
        chosen_by_role={},
        asks=tuple(asks),
    )
    return create_sweep(
        session,
        name=name,
        spec={"name": name, "models": [model], "asks": asks_as_json(asks)},
        plan=plan.model_dump(mode="json"),
        n_reasoning_slots=0,
        n_answer_slots=count_slots(plan).answer_slots,
        purpose=purpose,
    )
