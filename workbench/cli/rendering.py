"""The exact prompt of one question, as a sweep would send it."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.models import ModelRow, find_model
from db.settings import Settings
from db.tables import ReasoningVariant
from db.texts.inputs import question_texts
from serving.formats.definitions import Task
from serving.formats.library import load_registry
from serving.formats.render import RenderedPrompt
from serving.formats.tokenizer import PromptTokenizer
from serving.models.register import ensure_default_model
from serving.sweeps.expand import render_question
from serving.sweeps.slots import TASK_OF_MODE


def rendered_prompt(
    settings: Settings,
    database: Database,
    question_id: int,
    *,
    form: str,
    role: str | None,
    mode: str,
    variant_ids: Sequence[int],
    model: str | None,
) -> RenderedPrompt:
    """Return what a model would be sent for a question.

    In the mode ``reasoning``, the prompt that asks for the reasoning; with a variant, the one that
    asks for the answer under it.

    Raises:
        UsageError: Something named is not there, or the mode needs other variants.
    """
    task = _task(mode, len(variant_ids))
    default = ensure_default_model(database, settings) if model is None else None
    with database.write() as session:
        registry = load_registry(settings, session)
        chosen = default or find_model(session, model or "")
        (question,) = question_texts(session, [question_id])
        reasonings = [_reasoning(session, one, question_id) for one in variant_ids]
    return render_question(
        question,
        registry.format(form).definition,
        registry.role(role or question.role).definition.system,
        task,
        _tokenizer(chosen),
        reasonings=reasonings,
    )


def _task(mode: str, n_variants: int) -> Task:
    if mode not in TASK_OF_MODE:
        raise UsageError(f"There is no mode {mode!r}; choose one of {', '.join(TASK_OF_MODE)}.")
    if mode == "reasoning" and n_variants == 1:
        return "answer"
    needed = {"supplied": 1, "ensemble": 2}.get(mode, 0)
    if n_variants != needed:
        raise UsageError(f"The mode {mode} takes {needed} of --variant, not {n_variants}.")
    return TASK_OF_MODE[mode]


def _reasoning(session: Session, variant_id: int, question_id: int) -> str:
    variant = session.execute(
        select(ReasoningVariant.text, ReasoningVariant.question_id).where(
            ReasoningVariant.id == variant_id
        )
    ).one_or_none()
    if variant is None:
        raise UsageError(f"There is no reasoning v{variant_id}.")
    if variant.question_id != question_id:
        raise UsageError(
            f"v{variant_id} is a reasoning for q{variant.question_id}, not for q{question_id}."
        )
    return str(variant.text)


def _tokenizer(model: ModelRow) -> PromptTokenizer | None:
    return PromptTokenizer.load(Path(model.path)) if model.path is not None else None
