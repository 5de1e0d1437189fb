"""The sweep of a round: the same held-out questions for all models, in one pass."""

from sqlalchemy.orm import Session

from db.models import get_model
from db.rounds import RoundRow, move_round
from serving.formats.library import Registry
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.spec import SweepSpec, parse_spec
from training.rounds.spec import RoundSpec
from workbench.rounds.beginning import compared_models
from workbench.rounds.choosing import choose_questions

PURPOSE = "round"
"""Of these sweeps, which the list of sweeps leaves out."""


def sweep_spec(session: Session, registry: Registry, found: RoundRow, spec: RoundSpec) -> SweepSpec:
    """Return the sweep that compares the models of a round.

    Raises:
        UsageError: A model that is to be compared is not there.
    """
    asked = spec.compare
    roles = {reference.rpartition("@")[0] for reference in registry.roles}
    questions = choose_questions(session, asked.questions, roles)
    temperatures = [0.0, asked.temperature] if asked.temperature else [0.0]
    return parse_spec(
        {
            "name": f"round {found.name}",
            "questions": questions.model_dump(mode="json", exclude_defaults=True),
            "formats": list(asked.formats),
            "models": [get_model(session, m).name for m in compared_models(session, found, spec)],
            "one_pass": True,
            "variants": asked.variants,
            "reasoning_sampling": [
                {"temperature": temperature, "max_tokens": asked.max_tokens}
                for temperature in temperatures
            ],
        },
        where=f"The comparison of round {found.name!r}",
    )


def ensure_sweep(session: Session, registry: Registry, found: RoundRow, spec: RoundSpec) -> int:
    """Return the sweep of a round, planned and stored at first sight.

    Raises:
        UsageError: No question is held out, or a model is not there.
    """
    if found.sweep_id is not None:
        return found.sweep_id
    plan = plan_sweep(session, sweep_spec(session, registry, found, spec), registry)
    sweep_id = save_sweep(session, plan, purpose=PURPOSE)
    move_round(session, found.id, sweep_id=sweep_id)
    return sweep_id
