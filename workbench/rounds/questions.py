"""The sweep of a round: the same held-out questions for all models, in one pass."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.identity import short_hash
from db.models import get_model
from db.rounds import RoundRow, move_round
from db.settings import settings
from db.tables import Question
from serving.formats.library import Registry
from serving.models.as_served import served_precision
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.selection import select_questions
from serving.sweeps.spec import QuestionSelection, SweepSpec, parse_spec
from workbench.rounds.spec import RoundSpec
from workbench.rounds.start import compared_models

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
    models = [get_model(session, one) for one in compared_models(session, found, spec)]
    # All are served alike, whatever the server would take for each.
    precision = asked.precision or served_precision(session, models[0], settings())
    temperatures = [0.0, asked.temperature] if asked.temperature else [0.0]
    return parse_spec(
        {
            "name": f"round {found.name}",
            "questions": questions.model_dump(mode="json", exclude_defaults=True),
            "formats": list(asked.formats),
            "models": [model.name for model in models],
            "precision": None if precision is None else [precision],
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


class Drawable(NamedTuple):
    """A question as the draw sees it: nothing of it depends on when it was stored."""

    id: int
    language: str
    content_hash: str


def choose_questions(
    session: Session, selection: QuestionSelection, roles: Collection[str]
) -> QuestionSelection:
    """Return ``selection`` with the questions that are drawn by name; itself without a limit.

    Raises:
        UsageError: A question that is named is not in the store.
    """
    if selection.limit is None:
        return selection
    everyone = select_questions(session, selection.model_copy(update={"limit": None}), roles)
    if len(everyone) <= selection.limit:
        return selection
    rows = [
        Drawable(one, language or "", content_hash)
        for some in chunks(everyone)
        for one, language, content_hash in session.execute(
            select(Question.id, Question.language, Question.content_hash).where(
                Question.id.in_(some)
            )
        )
    ]
    return QuestionSelection(ids=tuple(draw(rows, selection.limit)))


def draw(rows: Iterable[Drawable], limit: int) -> list[int]:
    """Return the ids of ``most`` questions, each language in proportion, by id.

    The lot of a question is a hash of its content: the same questions are drawn in every store and
    round, a higher limit draws these and more, and a new question moves few of the others.
    """
    by_language: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in rows:
        by_language[row.language].append((short_hash("round", row.content_hash), row.id))
    places = [
        ((place + 0.5) / len(keys), key, question_id)
        for keys in by_language.values()
        for place, (key, question_id) in enumerate(sorted(keys))
    ]
    return sorted(question_id for _, _, question_id in sorted(places)[:limit])
