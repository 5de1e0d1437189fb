"""Lineage both ways: what a thing came from, and what came of it; one core for the app and the CLI.

Everything with a short name has one: a question (q12), a reasoning (v12), an answer (a7), a
generation (g9), a model (m3), a dataset (d1), a training run (t1), a round (r1).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.identity import Ref, RefKind, parse_ref
from db.lineage.nodes import (
    MAX_NODES,
    LineageGroup,
    LineageNode,
    Relation,
    related,
    related_in_line,
)
from db.rating.summaries import JudgementRow, judgements
from db.tables import (
    Answer,
    Dataset,
    DatasetRow,
    DatasetRowRating,
    Dialogue,
    DialogueEvent,
    DialogueNode,
    Generation,
    MergeProof,
    ModelVersion,
    Prompt,
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

_Ids = Select[Any]
_Relations = Iterator[Relation | LineageGroup]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What one thing came from, and what came of it; the nearest first."""

    ref: Ref
    up: tuple[LineageGroup, ...]
    down: tuple[LineageGroup, ...]


def lineage(session: Session, ref: Ref | str) -> Lineage:
    """Return the lineage of ``ref``.

    Raises:
        UsageError: It is no short name, or there is nothing of this name.
    """
    ref = parse_ref(ref) if isinstance(ref, str) else ref
    _, up, down = _KINDS[ref.kind]
    if not exists(session, ref):
        raise UsageError(
            "There is no {ref_kind} {ref}.", ref_kind=ref.kind.replace("_", " "), ref=ref
        )
    return Lineage(
        ref=ref,
        up=_groups(session, up(session, ref.id)),
        down=_groups(session, down(session, ref.id)),
    )


def exists(session: Session, ref: Ref) -> bool:
    """Tell whether there is something of this name."""
    table, _, _ = _KINDS[ref.kind]
    return session.scalar(select(table.id).where(table.id == ref.id)) is not None


def _groups(session: Session, relations: _Relations) -> tuple[LineageGroup, ...]:
    found = (one.read(session) if isinstance(one, Relation) else one for one in relations)
    return tuple(group for group in found if group is not None)


# What a thing came from


def _question_up(_: Session, question_id: int) -> _Relations:
    yield related_in_line(
        "question_parents", "question", question_id, Question.id, Question.parent_id
    )


def _variant_up(session: Session, variant_id: int) -> _Relations:
    question_id, generation_id, author_id = _columns(
        session, ReasoningVariant, variant_id, "question_id", "generation_id", "author_id"
    )
    yield _variant_parents("made_from", variant_id)
    yield from _written(session, generation_id, author_id)
    yield from _asked(session, question_id)


def _answer_up(session: Session, answer_id: int) -> _Relations:
    question_id, variant_id, generation_id, author_id = _columns(
        session, Answer, answer_id, "question_id", "variant_id", "generation_id", "author_id"
    )
    yield related_in_line("made_from", "answer", answer_id, Answer.id, Answer.parent_id)
    yield from _under(variant_id)
    yield from _written(session, generation_id, author_id)
    yield from _asked(session, question_id)


def _generation_up(session: Session, generation_id: int) -> _Relations:
    question_id, variant_id = _columns(
        session, Generation, generation_id, "question_id", "variant_id"
    )
    yield from _under(variant_id)
    yield from _sent(session, generation_id)
    yield from _asked(session, question_id)


def _model_up(session: Session, model_id: int) -> _Relations:
    yield from _trained_from(session, model_id)
    yield related("rounds", "round", Round.merged_model_version_id == model_id)


def _dataset_up(_: Session, dataset_id: int) -> _Relations:
    own = DatasetRow.dataset_id == dataset_id

    def among(*columns: Any) -> list[_Ids]:
        return [select(column).where(own) for column in columns]

    variants = among(DatasetRow.variant_id, DatasetRow.rejected_variant_id)
    answers = among(DatasetRow.answer_id, DatasetRow.rejected_answer_id)
    yield _ratings_behind(select(Dataset.id).where(Dataset.id == dataset_id))
    yield related("questions", "question", Question.id.in_(*among(DatasetRow.question_id)))
    yield related("variants", "variant", or_(*(ReasoningVariant.id.in_(ids) for ids in variants)))
    yield related("answers", "answer", or_(*(Answer.id.in_(ids) for ids in answers)))


def _run_up(_: Session, run_id: int) -> _Relations:
    own = TrainingRun.id == run_id
    start = select(TrainingRun.base_model_version_id).where(own)
    yield related("model", "model", ModelVersion.id.in_(start))
    yield from _datasets_behind(select(TrainingRun.dataset_id).where(own))


def _round_up(_: Session, round_id: int) -> _Relations:
    own = Round.id == round_id
    yield related("model", "model", ModelVersion.id.in_(select(Round.starts_from_id).where(own)))
    yield related("rounds", "round", Round.id.in_(select(Round.parent_id).where(own)))
    yield from _datasets_behind(select(Round.dataset_id).where(own))


def _variant_parents(name: str, variant_id: int) -> Relation:
    return related_in_line(
        name, "variant", variant_id, VariantParent.variant_id, VariantParent.parent_id
    )


def _under(variant_id: int | None) -> _Relations:
    """Yield the reasoning that an answer stands under, and what that was made from."""
    if variant_id is not None:
        yield related("under", "variant", ReasoningVariant.id == variant_id)
        yield _variant_parents("reasoning_parents", variant_id)


def _asked(session: Session, question_id: int) -> _Relations:
    yield related("question", "question", Question.id == question_id)
    yield from _question_up(session, question_id)


def _written(session: Session, generation_id: int | None, author_id: int | None) -> _Relations:
    if author_id is not None:
        yield related("author", "person", Rater.id == author_id)
    if generation_id is not None:
        yield related("generation", "generation", Generation.id == generation_id)
        yield from _sent(session, generation_id)


def _sent(session: Session, generation_id: int) -> _Relations:
    """Yield the prompt, the weights and the sweeps of a generation."""
    model_id, prompt_id = _columns(
        session, Generation, generation_id, "model_version_id", "prompt_id"
    )
    yield related("prompt", "prompt", Prompt.id == prompt_id)
    yield related("model", "model", ModelVersion.id == model_id)
    yield from _trained_from(session, model_id)
    shown = (
        related("sweeps", "sweep", SweepGeneration.generation_id == generation_id)
        .query.join(SweepGeneration, SweepGeneration.sweep_id == Sweep.id)
        .order_by(None)
        .order_by(SweepGeneration.made_here.desc(), Sweep.id)
    )
    yield Relation("sweeps", "sweep", shown)


def _trained_from(session: Session, model_id: int) -> _Relations:
    """Yield the bases, adapter, runs, datasets and ratings that made a model what it is.

    What is quantised for serving comes from the stored version, and that from its base.
    """
    (stored_id,) = _columns(session, ModelVersion, model_id, "stored_id")
    if stored_id is not None:
        yield related("served_from", "model", ModelVersion.id == stored_id)
        model_id = stored_id
    yield related_in_line("model_bases", "model", model_id, ModelVersion.id, ModelVersion.base_id)
    adapters = select(MergeProof.adapter_model_version_id).where(
        MergeProof.model_version_id == model_id
    )
    yield related("merged_from", "model", ModelVersion.id.in_(adapters))
    made = TrainingRun.adapter_model_version_id
    trained = made.in_(adapters) | (made == model_id)
    yield related("training_runs", "training_run", trained)
    yield from _datasets_behind(select(TrainingRun.dataset_id).where(trained))


def _datasets_behind(datasets: _Ids) -> _Relations:
    yield related("datasets", "dataset", Dataset.id.in_(datasets))
    yield _ratings_behind(datasets)


def _ratings_behind(datasets: _Ids) -> Relation:
    """Return the relation to the ratings that put rows into these datasets."""
    behind = (
        select(DatasetRowRating.rating_id)
        .join(DatasetRow, DatasetRow.id == DatasetRowRating.row_id)
        .where(DatasetRow.dataset_id.in_(datasets))
    )
    return related("ratings_behind", "rating", Rating.id.in_(behind))


# What came of a thing


def _question_down(session: Session, question_id: int) -> _Relations:
    edits = related_in_line("edits", "question", question_id, Question.parent_id, Question.id)
    yield edits._replace(query=edits.query.add_columns(Question.move.label("detail")))
    yield related("variants", "variant", ReasoningVariant.question_id == question_id)
    yield related("answers", "answer", Answer.question_id == question_id)
    yield from _judged(session, Ref("question", question_id))
    shown = (
        select(SweepGeneration.sweep_id)
        .join(Generation, Generation.id == SweepGeneration.generation_id)
        .where(Generation.question_id == question_id)
    )
    yield related("sweeps", "sweep", Sweep.id.in_(shown))
    yield from _learned(DatasetRow.question_id == question_id)
    yield _dialogues(DialogueNode.dialogue_id, DialogueNode.question_id == question_id)


def _variant_down(session: Session, variant_id: int) -> _Relations:
    (question_id,) = _columns(session, ReasoningVariant, variant_id, "question_id")
    yield related_in_line(
        "edits", "variant", variant_id, VariantParent.parent_id, VariantParent.variant_id
    )
    yield related("answers", "answer", Answer.variant_id == variant_id)
    yield from _judged(session, Ref("variant", variant_id))
    yield from _learned(
        DatasetRow.question_id == question_id,
        or_(DatasetRow.variant_id == variant_id, DatasetRow.rejected_variant_id == variant_id),
    )
    yield _dialogues(DialogueEvent.dialogue_id, DialogueEvent.variant_id == variant_id)


def _answer_down(session: Session, answer_id: int) -> _Relations:
    (question_id,) = _columns(session, Answer, answer_id, "question_id")
    # An edit stays under its question, whose index is there.
    within = Answer.question_id == question_id
    yield related_in_line("edits", "answer", answer_id, Answer.parent_id, Answer.id, within)
    yield from _judged(session, Ref("answer", answer_id))
    yield from _learned(
        DatasetRow.question_id == question_id,
        or_(DatasetRow.answer_id == answer_id, DatasetRow.rejected_answer_id == answer_id),
    )
    yield _dialogues(DialogueEvent.dialogue_id, DialogueEvent.answer_id == answer_id)


def _generation_down(_: Session, generation_id: int) -> _Relations:
    yield related("variants", "variant", ReasoningVariant.generation_id == generation_id)
    yield related("answers", "answer", Answer.generation_id == generation_id)


def _model_down(_: Session, model_id: int) -> _Relations:
    yield related("served_as", "model", ModelVersion.stored_id == model_id)
    yield related_in_line("models", "model", model_id, ModelVersion.base_id, ModelVersion.id)
    # The newest of them; the index of models counts them without reading any.
    own = Generation.model_version_id == model_id
    yield related("generations", "generation", own, is_newest_first=True)
    # Each sweep is asked for one generation of the model; most answer at once.
    is_used = (
        select(SweepGeneration.generation_id)
        .join(Generation, Generation.id == SweepGeneration.generation_id)
        .where(
            SweepGeneration.sweep_id == Sweep.id, scanned(Generation.model_version_id) == model_id
        )
        .exists()
    )
    yield related("sweeps", "sweep", is_used, is_newest_first=True)
    trained = or_(
        TrainingRun.base_model_version_id == model_id,
        TrainingRun.adapter_model_version_id == model_id,
    )
    yield related("training_runs", "training_run", trained)
    yield related("rounds", "round", Round.starts_from_id == model_id)
    raters = select(Rater.id).where(Rater.model_version_id == model_id)
    given = (Rating.rater_id.in_(raters), (Rating.undoes_id + 0).is_(None))
    yield related("ratings_given", "rating", *given, is_newest_first=True)


def _dataset_down(_: Session, dataset_id: int) -> _Relations:
    trained = TrainingRun.dataset_id == dataset_id
    yield related("training_runs", "training_run", trained)
    yield _models_made(trained, Round.dataset_id == dataset_id)
    yield related("rounds", "round", Round.dataset_id == dataset_id)


def _run_down(_: Session, run_id: int) -> _Relations:
    yield _models_made(TrainingRun.id == run_id, Round.training_run_id == run_id)
    yield related("rounds", "round", Round.training_run_id == run_id)


def _round_down(_: Session, round_id: int) -> _Relations:
    own = Round.id == round_id
    trained = TrainingRun.id.in_(select(Round.training_run_id).where(own))
    yield related("training_runs", "training_run", trained)
    yield _models_made(trained, own)
    yield related("sweeps", "sweep", Sweep.id.in_(select(Round.sweep_id).where(own)))
    yield related("rounds", "round", Round.parent_id == round_id)


def _models_made(trained: ColumnElement[bool], merged: ColumnElement[bool]) -> Relation:
    """Return the relation to the adapters of runs, their merges and what rounds made of them."""
    adapters = select(TrainingRun.adapter_model_version_id).where(trained)
    merges = select(MergeProof.model_version_id).where(
        MergeProof.adapter_model_version_id.in_(adapters)
    )
    of_rounds = select(Round.merged_model_version_id).where(merged)
    made = or_(*(ModelVersion.id.in_(ids) for ids in (adapters, merges, of_rounds)))
    return related("models", "model", made)


def _learned(*rows: ColumnElement[bool]) -> _Relations:
    """Yield the datasets that hold such rows, what was trained on them, and their rounds."""
    datasets = select(DatasetRow.dataset_id).where(*rows)
    yield related("datasets", "dataset", Dataset.id.in_(datasets))
    trained = TrainingRun.dataset_id.in_(datasets)
    yield related("training_runs", "training_run", trained)
    adapters = select(TrainingRun.adapter_model_version_id).where(trained)
    merged = select(Round.merged_model_version_id).where(Round.dataset_id.in_(datasets))
    made = or_(ModelVersion.id.in_(adapters), ModelVersion.id.in_(merged))
    yield related("models", "model", made)
    yield related("rounds", "round", Round.dataset_id.in_(datasets))


def _dialogues(column: Any, where: ColumnElement[bool]) -> Relation:
    return related("dialogues", "dialogue", Dialogue.id.in_(select(column).where(where)))


def _judged(session: Session, ref: Ref) -> Iterator[LineageGroup]:
    for relation, compared in (("ratings", False), ("comparisons", True)):
        rows, total = judgements(session, ref, MAX_NODES, compared=compared)
        if rows:
            nodes = tuple(map(_judgement, rows))
            yield LineageGroup(relation=relation, nodes=nodes, total=total)


def _judgement(row: JudgementRow) -> LineageNode:
    value = row.label if row.value is None else f"{row.value:g}"
    if row.result is not None:
        value = f"{row.result} {row.other}"
    return LineageNode(kind="rating", id=row.id, label=f"{row.axis} {value}", detail=row.rater)


def _columns(session: Session, table: Any, row_id: int, *names: str) -> tuple[Any, ...]:
    """Return some columns of a row; its texts, which may be long, are not read."""
    query = select(*(getattr(table, name) for name in names)).where(table.id == row_id)
    return tuple(session.execute(query).one())


_Side = Callable[[Session, int], _Relations]
_KINDS: dict[RefKind, tuple[Any, _Side, _Side]] = {
    "question": (Question, _question_up, _question_down),
    "variant": (ReasoningVariant, _variant_up, _variant_down),
    "answer": (Answer, _answer_up, _answer_down),
    "generation": (Generation, _generation_up, _generation_down),
    "model": (ModelVersion, _model_up, _model_down),
    "dataset": (Dataset, _dataset_up, _dataset_down),
    "training_run": (TrainingRun, _run_up, _run_down),
    "round": (Round, _round_up, _round_down),
}
"""Each kind's table, and how its two sides are found."""
