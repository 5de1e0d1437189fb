"""What a thing came from: parents, the question, the prompt, weights and sweeps behind it."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import kin_selects as named
from db.identity import Ref
from db.kin import KinGroup, first_words, group, line
from db.lineage_training import training_behind, training_up
from db.tables import (
    Answer,
    Generation,
    ModelVersion,
    Prompt,
    Question,
    Rater,
    ReasoningVariant,
    Round,
    Sweep,
    SweepGeneration,
    VariantParent,
)


def ancestors(session: Session, ref: Ref) -> tuple[KinGroup, ...]:
    """Return what ``ref``, which exists, came from; the nearest first."""
    if ref.kind in ("dataset", "training_run", "round"):
        return tuple(found for found in training_up(session, ref) if found is not None)
    groups = {
        "question": _of_question,
        "variant": _of_variant,
        "answer": _of_answer,
        "generation": _of_generation,
        "model": _of_model,
    }[ref.kind]
    return tuple(found for found in groups(session, ref.id) if found is not None)


def _of_question(session: Session, question_id: int) -> Iterator[KinGroup | None]:
    up = line(question_id, Question.id, Question.parent_id)
    yield group(
        session,
        "question_parents",
        "question",
        select(Question.id, first_words(Question.text), up.c.steps)
        .join(up, up.c.id == Question.id)
        .order_by(up.c.steps),
    )


def _of_variant(session: Session, variant_id: int) -> Iterator[KinGroup | None]:
    question_id, generation_id, author_id = session.execute(
        select(
            ReasoningVariant.question_id,
            ReasoningVariant.generation_id,
            ReasoningVariant.author_id,
        ).where(ReasoningVariant.id == variant_id)
    ).one()
    yield _variant_parents(session, "made_from", variant_id)
    yield from _written(session, generation_id, author_id)
    yield from _asked(session, question_id)


def _of_answer(session: Session, answer_id: int) -> Iterator[KinGroup | None]:
    question_id, variant_id, generation_id, author_id = session.execute(
        select(Answer.question_id, Answer.variant_id, Answer.generation_id, Answer.author_id).where(
            Answer.id == answer_id
        )
    ).one()
    up = line(answer_id, Answer.id, Answer.parent_id)
    yield group(
        session,
        "made_from",
        "answer",
        named.answers().add_columns(up.c.steps).join(up, up.c.id == Answer.id).order_by(up.c.steps),
    )
    yield from _under(session, variant_id)
    yield from _written(session, generation_id, author_id)
    yield from _asked(session, question_id)


def _of_generation(session: Session, generation_id: int) -> Iterator[KinGroup | None]:
    question_id, variant_id = session.execute(
        select(Generation.question_id, Generation.variant_id).where(Generation.id == generation_id)
    ).one()
    yield from _under(session, variant_id)
    yield from _sent(session, generation_id)
    yield from _asked(session, question_id)


def _of_model(session: Session, model_id: int) -> Iterator[KinGroup | None]:
    yield _model_bases(session, model_id)
    yield from training_behind(session, model_id)
    yield group(
        session,
        "rounds",
        "round",
        named.rounds().where(Round.merged_model_version_id == model_id).order_by(Round.id),
    )


def _variant_parents(session: Session, relation: str, variant_id: int) -> KinGroup | None:
    up = line(variant_id, VariantParent.variant_id, VariantParent.parent_id)
    return group(
        session,
        relation,
        "variant",
        named.variants()
        .add_columns(up.c.steps)
        .join(up, up.c.id == ReasoningVariant.id)
        .order_by(up.c.steps, ReasoningVariant.id),
    )


def _under(session: Session, variant_id: int | None) -> Iterator[KinGroup | None]:
    """Yield the reasoning that an answer stands under, and what that was made from."""
    if variant_id is not None:
        own = named.variants().where(ReasoningVariant.id == variant_id)
        yield group(session, "under", "variant", own)
        yield _variant_parents(session, "reasoning_parents", variant_id)


def _asked(session: Session, question_id: int) -> Iterator[KinGroup | None]:
    own = select(Question.id, first_words(Question.text)).where(Question.id == question_id)
    yield group(session, "question", "question", own)
    yield from _of_question(session, question_id)


def _written(
    session: Session, generation_id: int | None, author_id: int | None
) -> Iterator[KinGroup | None]:
    if author_id is not None:
        person = select(Rater.id, Rater.name.label("label")).where(Rater.id == author_id)
        yield group(session, "author", "person", person)
    if generation_id is not None:
        yield group(
            session,
            "generation",
            "generation",
            named.generations().where(Generation.id == generation_id),
        )
        yield from _sent(session, generation_id)


def _sent(session: Session, generation_id: int) -> Iterator[KinGroup | None]:
    """Yield the prompt, the weights and the sweeps of a generation."""
    model_id, prompt_id = session.execute(
        select(Generation.model_version_id, Generation.prompt_id).where(
            Generation.id == generation_id
        )
    ).one()
    if prompt_id is not None:
        own = select(Prompt.id, first_words(Prompt.text)).where(Prompt.id == prompt_id)
        yield group(session, "prompt", "prompt", own)
    yield group(session, "model", "model", named.models().where(ModelVersion.id == model_id))
    yield _model_bases(session, model_id)
    yield from training_behind(session, model_id)
    yield group(
        session,
        "sweeps",
        "sweep",
        named.sweeps()
        .join(SweepGeneration, SweepGeneration.sweep_id == Sweep.id)
        .where(SweepGeneration.generation_id == generation_id)
        .order_by(SweepGeneration.made_here.desc(), Sweep.id),
    )


def _model_bases(session: Session, model_id: int) -> KinGroup | None:
    up = line(model_id, ModelVersion.id, ModelVersion.base_id)
    return group(
        session,
        "model_bases",
        "model",
        named.models()
        .add_columns(up.c.steps)
        .join(up, up.c.id == ModelVersion.id)
        .order_by(up.c.steps),
    )
