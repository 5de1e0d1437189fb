"""Lineage of what trains: datasets, training runs and rounds, and what stands behind a model."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from db import kin_selects as named
from db.identity import Ref
from db.kin import KinGroup, first_words, group
from db.tables import (
    Answer,
    Dataset,
    DatasetRow,
    DatasetRowRating,
    MergeProof,
    ModelVersion,
    Question,
    Rating,
    ReasoningVariant,
    Round,
    Sweep,
    TrainingRun,
)

Ids = Select[Any]


def training_behind(session: Session, model_id: int) -> Iterator[KinGroup | None]:
    """Yield the adapter, runs, datasets and ratings that made a model what it is."""
    adapters = select(MergeProof.adapter_model_version_id).where(
        MergeProof.model_version_id == model_id
    )
    made_from = named.models().where(ModelVersion.id.in_(adapters)).order_by(ModelVersion.id)
    yield group(session, "merged_from", "model", made_from)
    trained = TrainingRun.adapter_model_version_id.in_(adapters) | (
        TrainingRun.adapter_model_version_id == model_id
    )
    yield _runs(session, select(TrainingRun.id).where(trained))
    yield from _learned(session, select(TrainingRun.dataset_id).where(trained))


def training_up(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    """Yield what a dataset, a run or a round came from."""
    if ref.kind == "dataset":
        yield _ratings(session, select(Dataset.id).where(Dataset.id == ref.id))
        yield from _texts(session, ref.id)
        return
    table: Any = TrainingRun if ref.kind == "training_run" else Round
    begins = TrainingRun.base_model_version_id if table is TrainingRun else Round.starts_from_id
    start = select(begins).where(table.id == ref.id)
    yield group(session, "model", "model", named.models().where(ModelVersion.id.in_(start)))
    if table is Round:
        parent = select(Round.parent_id).where(Round.id == ref.id)
        yield _rounds(session, parent)
    yield from _learned(session, select(table.dataset_id).where(table.id == ref.id))


def training_down(session: Session, ref: Ref) -> Iterator[KinGroup | None]:
    """Yield what came of a dataset, a run or a round."""
    used = Round.id == ref.id
    if ref.kind == "round":
        own = Round.id == ref.id
        runs = select(Round.training_run_id).where(own)
        more = select(Round.merged_model_version_id).where(own)
    else:
        is_run = ref.kind == "training_run"
        own = TrainingRun.id == ref.id if is_run else TrainingRun.dataset_id == ref.id
        runs = select(TrainingRun.id).where(own)
        used = Round.training_run_id == ref.id if is_run else Round.dataset_id == ref.id
        more = select(Round.merged_model_version_id).where(used)
    if ref.kind != "training_run":
        yield _runs(session, runs)
    adapters = select(TrainingRun.adapter_model_version_id).where(TrainingRun.id.in_(runs))
    merged = select(MergeProof.model_version_id).where(
        MergeProof.adapter_model_version_id.in_(adapters)
    )
    made = or_(*(ModelVersion.id.in_(ids) for ids in (adapters, merged, more)))
    yield group(session, "models", "model", named.models().where(made).order_by(ModelVersion.id))
    if ref.kind == "round":
        sweep = select(Round.sweep_id).where(Round.id == ref.id)
        yield group(session, "sweeps", "sweep", named.sweeps().where(Sweep.id.in_(sweep)))
        yield _rounds(session, select(Round.id).where(Round.parent_id == ref.id))
    else:
        yield _rounds(session, select(Round.id).where(used))


def _learned(session: Session, datasets: Ids) -> Iterator[KinGroup | None]:
    found = named.datasets().where(Dataset.id.in_(datasets)).order_by(Dataset.id)
    yield group(session, "datasets", "dataset", found)
    yield _ratings(session, datasets)


def _ratings(session: Session, datasets: Ids) -> KinGroup | None:
    """Return the ratings that put rows into these datasets."""
    behind = (
        select(DatasetRowRating.rating_id)
        .join(DatasetRow, DatasetRow.id == DatasetRowRating.row_id)
        .where(DatasetRow.dataset_id.in_(datasets))
    )
    query = select(Rating.id, Rating.axis.label("label"), Rating.outcome.label("detail"))
    found = query.where(Rating.id.in_(behind)).order_by(Rating.id)
    return group(session, "ratings_behind", "rating", found)


def _texts(session: Session, dataset_id: int) -> Iterator[KinGroup | None]:
    """Yield the questions, reasonings and answers in a dataset, the rejected ones too."""
    own = DatasetRow.dataset_id == dataset_id
    asked = select(DatasetRow.question_id).where(own)
    questions = select(Question.id, first_words(Question.text)).where(Question.id.in_(asked))
    yield group(session, "questions", "question", questions.order_by(Question.id))
    variants = or_(
        ReasoningVariant.id.in_(select(DatasetRow.variant_id).where(own)),
        ReasoningVariant.id.in_(select(DatasetRow.rejected_variant_id).where(own)),
    )
    found = named.variants().where(variants).order_by(ReasoningVariant.id)
    yield group(session, "variants", "variant", found)
    answers = or_(
        Answer.id.in_(select(DatasetRow.answer_id).where(own)),
        Answer.id.in_(select(DatasetRow.rejected_answer_id).where(own)),
    )
    yield group(session, "answers", "answer", named.answers().where(answers).order_by(Answer.id))


def _runs(session: Session, ids: Ids) -> KinGroup | None:
    found = named.training_runs().where(TrainingRun.id.in_(ids)).order_by(TrainingRun.id)
    return group(session, "training_runs", "training_run", found)


def _rounds(session: Session, ids: Ids) -> KinGroup | None:
    found = named.rounds().where(Round.id.in_(ids)).order_by(Round.id)
    return group(session, "rounds", "round", found)
