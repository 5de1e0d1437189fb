"""Texts by the design that made them: each answer with its level, for the results matrix.

A level is one combination of factor levels: role, format, mode, model, its precision, each sampling
parameter, and, of an answer under a reasoning, who wrote that and how. An *entry* is an answer with
the reasoning that it stands under, or a reasoning without answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Integer, Select, and_, cast, func, null, select
from sqlalchemy.orm import Session, aliased

from db.rating.summaries import text_scores
from db.tables import (
    Answer,
    AnswerGrade,
    Generation,
    ModelVersion,
    PromptFormat,
    Question,
    ReasoningVariant,
    Role,
    Sampling,
    Sweep,
    SweepGeneration,
)

EXCERPT: Final = 300
"""Characters read of each text of a cell."""
NONE: Final = "–"
"""The level of a factor that does not apply, e.g. the role of an answer that was imported."""
FACTORS: Final = ("sweep", "role", "format", "mode", "model", "precision")
"""Factors that are no sampling parameters, in the order in which they are shown."""
OF_REASONING: Final = "reasoning_"
"""Before the name of a factor: of the reasoning that an answer stands under."""
_Reasoned = aliased(Generation)
_IS_GRADE = and_(AnswerGrade.answer_id == Answer.id, AnswerGrade.is_current)


class Level(NamedTuple):
    """One combination of factor levels, by the ids of the store."""

    sweep_id: int | None
    role_id: int | None
    prompt_format_id: int | None
    mode: str | None
    model_version_id: int | None
    sampling_id: int | None
    reasoning_model_id: int | None
    reasoning_sampling_id: int | None
    reasoning_source: str | None
    """Who wrote the reasoning: ``model``, or e.g. ``edited``; None where there is none."""
    source: str
    """Who wrote the answer (or the reasoning alone): ``model``, ``human``, ``imported``, …"""


class Entry(NamedTuple):
    """An answer and its reasoning, or a reasoning alone, as far as a cell shows them."""

    question_id: int
    level: Level
    answer_id: int | None
    answer: str | None
    """Its first characters."""
    answer_hash: str | None
    """Equal for equal answers."""
    variant_id: int | None
    reasoning: str | None
    correct: bool | None
    """By the check of the question; None where there is none, or it cannot be told."""
    found: str | None
    """What the check read from the answer; None where it has no grade."""


class MatrixQuestion(NamedTuple):
    """A question as far as its row shows it."""

    id: int
    text: str
    context: str
    reference_answer: str
    answer_check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSums:
    """What there is of one level under one question, counted."""

    question_id: int
    level: Level
    n: int
    """Answers."""
    n_graded: int
    n_correct: int
    n_rated: int
    """Of these, answers that people rated, or whose reasoning they rated."""
    score: float
    """Sum of the scores (0 to 1) of what is rated."""


def matrix_questions(
    session: Session, question_ids: Sequence[int], *, excerpt: int = EXCERPT
) -> list[MatrixQuestion]:
    """Return the questions in the order of ``question_ids``, each text cut to ``excerpt``."""
    texts = (
        func.substr(func.coalesce(one, ""), 1, excerpt)
        for one in (Question.text, Question.context, Question.reference_answer)
    )
    query = select(Question.id, *texts, func.coalesce(Question.answer_check, ""))
    rows = session.execute(query.where(Question.id.in_(question_ids)))
    found = {row[0]: MatrixQuestion(*row) for row in rows}
    return [found[id] for id in question_ids if id in found]


def entries_of(
    session: Session,
    question_ids: Sequence[int],
    sweep_ids: Sequence[int] = (),
    *,
    excerpt: int = EXCERPT,
) -> list[Entry]:
    """Return all entries of some questions, of these sweeps only where any are named.

    In two queries; answers first, then the reasonings that have none there.
    """
    n = len(Level._fields)
    answers = _answers(sweep_ids).add_columns(
        Answer.question_id,
        Answer.id.label("answer_id"),
        func.substr(Answer.text, 1, excerpt).label("answer"),
        Answer.content_hash.label("answer_hash"),
        Answer.variant_id,
        func.substr(ReasoningVariant.text, 1, excerpt).label("reasoning"),
        AnswerGrade.correct,
        AnswerGrade.found,
    )
    answers = answers.outerjoin(AnswerGrade, _IS_GRADE).where(Answer.question_id.in_(question_ids))
    rows = session.execute(answers.order_by(Answer.id)).all()
    found = [Entry(row[n], Level(*row[:n]), *row[n + 1 :]) for row in rows]
    answered = {(one.level.sweep_id, one.variant_id) for one in found}
    reasonings = _reasonings(sweep_ids).add_columns(
        ReasoningVariant.question_id,
        ReasoningVariant.id.label("variant_id"),
        func.substr(ReasoningVariant.text, 1, excerpt).label("reasoning"),
    )
    reasonings = reasonings.where(ReasoningVariant.question_id.in_(question_ids))
    rows = session.execute(reasonings.order_by(ReasoningVariant.id)).all()
    alone = (
        Entry(row[n], Level(*row[:n]), None, None, None, row[n + 1], row[n + 2], None, None)
        for row in rows
    )
    return found + [one for one in alone if (one.level.sweep_id, one.variant_id) not in answered]


def _answers(sweep_ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """Return the select of answers, with the columns of ``Level``."""
    level = _level_columns(
        sweep_ids,
        sampling_id=Generation.sampling_id,
        reasoning_model_id=_Reasoned.model_version_id,
        reasoning_sampling_id=_Reasoned.sampling_id,
        source=Answer.source,
    )
    query = (
        select(*level)
        .select_from(Answer)
        .outerjoin(Generation, Generation.id == Answer.generation_id)
        .outerjoin(ReasoningVariant, ReasoningVariant.id == Answer.variant_id)
        .outerjoin(_Reasoned, _Reasoned.id == ReasoningVariant.generation_id)
    )
    return _of_sweeps(query, Answer.generation_id, sweep_ids)


def _reasonings(sweep_ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """Return the select of reasonings for themselves, with the columns of ``Level``."""
    level = _level_columns(
        sweep_ids,
        sampling_id=null(),
        reasoning_model_id=Generation.model_version_id,
        reasoning_sampling_id=Generation.sampling_id,
        source=ReasoningVariant.source,
    )
    query = (
        select(*level)
        .select_from(ReasoningVariant)
        .outerjoin(Generation, Generation.id == ReasoningVariant.generation_id)
        .where(ReasoningVariant.source != "control")
    )
    return _of_sweeps(query, ReasoningVariant.generation_id, sweep_ids)


def _level_columns(sweep_ids: Sequence[int], **own: Any) -> list[Any]:
    """Return the columns of ``Level`` in its order; ``own``: those that differ by kind of text."""
    columns = {
        # Sweeps share generations: where none is asked for, a text belongs to no single one.
        "sweep_id": SweepGeneration.sweep_id if sweep_ids else null(),
        "role_id": Generation.role_id,
        "prompt_format_id": Generation.prompt_format_id,
        "mode": Generation.mode,
        "model_version_id": Generation.model_version_id,
        "reasoning_source": ReasoningVariant.source,
        **own,
    }
    return [columns[name].label(name) for name in Level._fields]


def _of_sweeps(
    query: Select[*tuple[Any, ...]], generation_id: Any, sweep_ids: Sequence[int]
) -> Select[*tuple[Any, ...]]:
    if not sweep_ids:
        return query
    return query.join(SweepGeneration, SweepGeneration.generation_id == generation_id).where(
        # The plus keeps SQLite from reading the whole sweep for a few questions.
        (SweepGeneration.sweep_id + 0).in_(sweep_ids)
    )


def sums_of_levels(session: Session, sweep_ids: Sequence[int]) -> list[LevelSums]:
    """Count what there is of each level under each question.

    It reads every answer of the sweeps (of the store, where none is named): seconds with a million.
    """
    scores = {kind: text_scores(kind) for kind in ("answer", "variant")}
    query = (
        _answers(sweep_ids)
        .outerjoin(AnswerGrade, _IS_GRADE)
        .outerjoin(scores["answer"], scores["answer"].c.text_id == Answer.id)
        .outerjoin(scores["variant"], scores["variant"].c.text_id == Answer.variant_id)
    )
    score = func.coalesce(scores["answer"].c.score, scores["variant"].c.score)
    levels = list(query.selected_columns)
    grouped = query.add_columns(
        Answer.question_id,
        func.count(Answer.id).label("n"),
        func.count(AnswerGrade.correct).label("n_graded"),
        func.coalesce(func.sum(cast(AnswerGrade.correct, Integer)), 0).label("n_correct"),
        func.count(score).label("n_rated"),
        func.coalesce(func.sum(score), 0.0).label("score"),
    ).group_by(*(one for one in levels if one.name != "sweep_id" or sweep_ids), Answer.question_id)
    sums = []
    for row in session.execute(grouped):
        level = Level(*row[: len(Level._fields)])
        names = ("question_id", "n", "n_graded", "n_correct", "n_rated", "score")
        sums.append(LevelSums(level=level, **{name: getattr(row, name) for name in names}))
    return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelNames:
    """Names levels by factor; all that is needed for it, read once."""

    roles: Mapping[int, str]
    formats: Mapping[int, str]
    models: Mapping[int, tuple[str, str | None]]
    """Id → name of the stored model, and the precision in which it is served."""
    samplings: Mapping[int, Mapping[str, Any]]
    sweeps: Mapping[int, str]

    def of(self, level: Level) -> dict[str, str]:
        """Return factor → name of its level; factors that do not apply are left out."""
        named = {
            "sweep": self.sweeps.get(level.sweep_id or 0),
            "role": self.roles.get(level.role_id or 0),
            "format": self.formats.get(level.prompt_format_id or 0),
            "mode": level.mode,
            **self._written(level.model_version_id, level.sampling_id, level.source, ""),
        }
        if level.reasoning_source is not None:
            writer = (level.reasoning_model_id, level.reasoning_sampling_id)
            named |= self._written(*writer, level.reasoning_source, OF_REASONING)
        return {factor: name for factor, name in named.items() if name is not None}

    def _written(
        self, model_id: int | None, sampling_id: int | None, source: str, prefix: str
    ) -> dict[str, str | None]:
        model, precision = self.models.get(model_id or 0, (source, None))
        parameters = self.samplings.get(sampling_id or 0, {})
        return {
            f"{prefix}model": model,
            f"{prefix}precision": precision,
            **{f"{prefix}{name}": _shown(value) for name, value in parameters.items()},
        }


def level_names(session: Session) -> LevelNames:
    """Read all that levels are called by."""
    models = {
        row.id: row
        for row in session.execute(
            select(
                ModelVersion.id, ModelVersion.name, ModelVersion.precision, ModelVersion.stored_id
            )
        )
    }
    formats = session.execute(select(PromptFormat.id, PromptFormat.name, PromptFormat.version))
    versions = session.execute(select(Role.id, Role.name, Role.version)).all()
    n_versions: dict[str, int] = {}
    for row in versions:
        n_versions[row.name] = n_versions.get(row.name, 0) + 1
    return LevelNames(
        roles={
            row.id: row.name if n_versions[row.name] == 1 else f"{row.name}@{row.version}"
            for row in versions
        },
        formats={row.id: f"{row.name}@{row.version}" for row in formats},
        models={
            id: (models[row.stored_id].name if row.stored_id in models else row.name, row.precision)
            for id, row in models.items()
        },
        samplings={
            row.id: row.parameters
            for row in session.execute(select(Sampling.id, Sampling.parameters))
        },
        sweeps={
            row.id: f"{row.name} ({row.id})"
            for row in session.execute(select(Sweep.id, Sweep.name))
        },
    )


def _shown(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, int | float) else str(value)
