"""What came of a thing: edits, texts under it, ratings, and what was trained on it."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db import kin_selects as named
from db.identity import Ref
from db.judgements import JudgementRow, judgements
from db.kin import MOST_KIN, Kin, KinGroup, first_words, group, line
from db.lineage_training import training_down
from db.tables import (
    Answer,
    Dataset,
    DatasetRow,
    DialogueEvent,
    DialogueNode,
    DialogueSession,
    Generation,
    ModelVersion,
    Question,
    Rater,
    Rating,
    ReasoningVariant,
    Round,
    Sweep,
    SweepGeneration,
    TrainingRun,
    VariantParent,
)
from db.texts.lists import scanned


def descendants(session: Session, ref: Ref) -> tuple[KinGroup, ...]:
    """Return what came of ``ref``, which exists; the nearest first."""
    if ref.kind in ("dataset", "training_run", "round"):
        return tuple(found for found in training_down(session, ref) if found is not None)
    groups = {
        "question": _of_question,
        "variant": _of_variant,
        "answer": _of_answer,
        "generation": _of_generation,
        "model": _of_model,
    }[ref.kind]
    return tuple(found for found in groups(session, ref) if found is not None)


def _of_question(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    down = line(ref.id, Question.parent_id, Question.id)
    yield group(
        session,
        "edits",
        "question",
        select(Question.id, first_words(Question.text), down.c.steps, Question.move.label("detail"))
        .join(down, down.c.id == Question.id)
        .order_by(down.c.steps, Question.id),
    )
    yield group(
        session,
        "variants",
        "variant",
        named.variants()
        .where(ReasoningVariant.question_id == ref.id)
        .order_by(ReasoningVariant.id),
    )
    yield group(
        session,
        "answers",
        "answer",
        named.answers().where(Answer.question_id == ref.id).order_by(Answer.id),
    )
    yield from _judged(session, ref)
    shown = (
        select(SweepGeneration.sweep_id)
        .join(Generation, Generation.id == SweepGeneration.generation_id)
        .where(Generation.question_id == ref.id)
    )
    yield group(
        session, "sweeps", "sweep", named.sweeps().where(Sweep.id.in_(shown)).order_by(Sweep.id)
    )
    yield from _learned(session, DatasetRow.question_id == ref.id)
    asked = select(DialogueNode.session_id).where(DialogueNode.question_id == ref.id)
    yield _dialogues(session, asked)


def _of_variant(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    down = line(ref.id, VariantParent.parent_id, VariantParent.variant_id)
    yield group(
        session,
        "edits",
        "variant",
        named.variants()
        .add_columns(down.c.steps)
        .join(down, down.c.id == ReasoningVariant.id)
        .order_by(down.c.steps, ReasoningVariant.id),
    )
    yield group(
        session,
        "answers",
        "answer",
        named.answers().where(Answer.variant_id == ref.id).order_by(Answer.id),
    )
    yield from _judged(session, ref)
    question_id = _question_id(session, ReasoningVariant.question_id, ReasoningVariant.id, ref)
    yield from _learned(
        session,
        DatasetRow.question_id == question_id,
        or_(DatasetRow.variant_id == ref.id, DatasetRow.rejected_variant_id == ref.id),
    )
    told = select(DialogueEvent.session_id).where(DialogueEvent.variant_id == ref.id)
    yield _dialogues(session, told)


def _of_answer(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    question_id = _question_id(session, Answer.question_id, Answer.id, ref)
    # An edit stays under its question, whose index is there.
    down = line(ref.id, Answer.parent_id, Answer.id, Answer.question_id == question_id)
    yield group(
        session,
        "edits",
        "answer",
        named.answers()
        .add_columns(down.c.steps)
        .join(down, down.c.id == Answer.id)
        .order_by(down.c.steps, Answer.id),
    )
    yield from _judged(session, ref)
    yield from _learned(
        session,
        DatasetRow.question_id == question_id,
        or_(DatasetRow.answer_id == ref.id, DatasetRow.rejected_answer_id == ref.id),
    )
    told = select(DialogueEvent.session_id).where(DialogueEvent.answer_id == ref.id)
    yield _dialogues(session, told)


def _of_generation(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    made = named.variants().where(ReasoningVariant.generation_id == ref.id)
    yield group(session, "variants", "variant", made)
    yield group(session, "answers", "answer", named.answers().where(Answer.generation_id == ref.id))


def _of_model(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    down = line(ref.id, ModelVersion.base_id, ModelVersion.id)
    yield group(
        session,
        "models",
        "model",
        named.models()
        .add_columns(down.c.steps)
        .join(down, down.c.id == ModelVersion.id)
        .order_by(down.c.steps, ModelVersion.id),
    )
    yield _generations(session, ref.id)
    # Each sweep is asked for one generation of the model; most answer at once.
    is_used = (
        select(SweepGeneration.generation_id)
        .join(Generation, Generation.id == SweepGeneration.generation_id)
        .where(SweepGeneration.sweep_id == Sweep.id, scanned(Generation.model_version_id) == ref.id)
        .exists()
    )
    yield group(session, "sweeps", "sweep", named.sweeps().where(is_used).order_by(Sweep.id.desc()))
    trained = or_(
        TrainingRun.base_model_version_id == ref.id,
        TrainingRun.adapter_model_version_id == ref.id,
    )
    yield group(
        session,
        "training_runs",
        "training_run",
        named.training_runs().where(trained).order_by(TrainingRun.id),
    )
    began = named.rounds().where(Round.starts_from_id == ref.id).order_by(Round.id)
    yield group(session, "rounds", "round", began)
    yield group(
        session,
        "ratings_given",
        "rating",
        select(Rating.id, Rating.axis.label("label"), Rating.outcome.label("detail"))
        .join(Rater, Rater.id == Rating.rater_id)
        .where(Rater.model_version_id == ref.id, (Rating.undoes_id + 0).is_(None))
        .order_by(Rating.id.desc()),
    )


def _generations(session: Session, model_id: int) -> KinGroup | None:
    """Return the newest generations of a model; its index counts them without reading any."""
    return group(
        session,
        "generations",
        "generation",
        named.generations()
        .where(Generation.model_version_id == model_id)
        .order_by(Generation.id.desc()),
    )


def _judged(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    for relation, compared in (("ratings", False), ("comparisons", True)):
        rows, total = judgements(session, ref, MOST_KIN, compared=compared)
        if rows:
            kin = tuple(map(_judgement, rows))
            yield KinGroup(relation=relation, kin=kin, total=total)


def _judgement(row: JudgementRow) -> Kin:
    said = row.label if row.value is None else f"{row.value:g}"
    if row.result is not None:
        said = f"{row.result} {row.other}"
    return Kin(kind="rating", id=row.id, label=f"{row.axis} {said}", detail=row.rater)


def _learned(session: Session, *rows: ColumnElement[bool]) -> Iterator[KinGroup | None]:
    """Yield the datasets that hold such rows, what was trained on them, and their rounds."""
    own = select(DatasetRow.dataset_id).where(*rows)
    yield group(
        session,
        "datasets",
        "dataset",
        named.datasets().where(Dataset.id.in_(own)).order_by(Dataset.id),
    )
    trained = TrainingRun.dataset_id.in_(own)
    yield group(
        session,
        "training_runs",
        "training_run",
        named.training_runs().where(trained).order_by(TrainingRun.id),
    )
    adapters = select(TrainingRun.adapter_model_version_id).where(trained)
    merged = select(Round.merged_model_version_id).where(Round.dataset_id.in_(own))
    yield group(
        session,
        "models",
        "model",
        named.models()
        .where(or_(ModelVersion.id.in_(adapters), ModelVersion.id.in_(merged)))
        .order_by(ModelVersion.id),
    )
    begun = named.rounds().where(Round.dataset_id.in_(own)).order_by(Round.id)
    yield group(session, "rounds", "round", begun)


def _dialogues(session: Session, ids: Select[int]) -> KinGroup | None:
    return group(
        session,
        "dialogues",
        "dialogue",
        named.dialogues().where(DialogueSession.id.in_(ids)).order_by(DialogueSession.id),
    )


def _question_id(
    session: Session, column: InstrumentedAttribute[int], key: InstrumentedAttribute[int], ref: Ref
) -> int:
    return session.scalars(select(column).where(key == ref.id)).one()
