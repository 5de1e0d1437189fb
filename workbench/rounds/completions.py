"""What models wrote in one pass in a sweep, read once, with what is known of each completion."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.tables import (
    Answer,
    AnswerGrade,
    CheckFlag,
    Generation,
    ModelVersion,
    PromptFormat,
    Question,
    QuestionTag,
    ReasoningVariant,
    Sampling,
    SweepGeneration,
    Tag,
)
from serving.formats.definitions import FormatDefinition
from serving.formats.parse import parse_completion

UNANSWERABLE = "unanswerable"
"""Tag of questions that nobody can answer; without it, an imported "I don't know" tells."""


ByQuestion = dict[int, float]
"""Question → value of a measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePassOutput:
    """One completion that was to hold a reasoning and an answer."""

    question_id: int
    language: str
    """ISO 639-1 code; ``?`` where unknown."""
    format: str
    model_id: int
    model: str
    is_greedy: bool
    reasoning: str | None
    response: str | None
    problem: str | None
    """Why it is not well-formed; None where it is."""
    stopped: bool
    """It ended by itself, not at the limit of tokens."""
    n_tokens: int | None
    findings: frozenset[str]
    """Names of the checks that found something in either part."""
    correct: bool | None = None
    """By the check of its question; None where there is none, or it cannot be told."""


def read_outputs(session: Session, sweep_id: int) -> list[OnePassOutput]:
    """Return the completions of a sweep with ``one_pass``, in the order of their numbers."""
    formats = {
        row[0]: (f"{row[1]}@{row[2]}", FormatDefinition.model_validate(row[3]))
        for row in session.execute(
            select(
                PromptFormat.id, PromptFormat.name, PromptFormat.version, PromptFormat.definition
            )
        )
    }
    rows = session.execute(
        select(
            Generation.id,
            Generation.question_id,
            Generation.text,
            Generation.finish_reason,
            Generation.completion_tokens,
            Generation.prompt_format_id,
            func.coalesce(ModelVersion.stored_id, ModelVersion.id).label("model_version_id"),
            ModelVersion.name,
            Question.language,
            Sampling.parameters,
            AnswerGrade.correct,
        )
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .join(ModelVersion, ModelVersion.id == Generation.model_version_id)
        .join(Question, Question.id == Generation.question_id)
        .join(Sampling, Sampling.id == Generation.sampling_id)
        .outerjoin(Answer, Answer.generation_id == Generation.id)
        .outerjoin(AnswerGrade, and_(AnswerGrade.answer_id == Answer.id, AnswerGrade.is_current))
        .where(SweepGeneration.sweep_id == sweep_id, Generation.kind == "whole", Generation.ok)
        .order_by(Generation.id)
    ).all()
    findings = _findings(session, [row.id for row in rows])
    written = []
    for row in rows:
        reference, form = formats[row.prompt_format_id]
        parsed = parse_completion(form, "whole", row.text or "", row.finish_reason)
        written.append(
            OnePassOutput(
                question_id=row.question_id,
                language=row.language or "?",
                format=reference,
                model_id=row.model_version_id,
                model=row.name,
                is_greedy=row.parameters.get("temperature") == 0,
                reasoning=parsed.reasoning,
                response=parsed.response,
                problem=parsed.problem,
                stopped=row.finish_reason == "stop",
                n_tokens=row.completion_tokens,
                findings=frozenset(findings[row.id]),
                correct=row.correct,
            )
        )
    return written


def unanswerable(session: Session, question_ids: Sequence[int]) -> set[int]:
    """Return those questions that are rightly answered with "I don't know".

    They bear the tag ``unanswerable``, or an answer that a person wrote or imported says so.
    """
    found: set[int] = set()
    for part in chunks(question_ids):
        tagged = (
            select(QuestionTag.question_id)
            .join(Tag, Tag.id == QuestionTag.tag_id)
            .where(Tag.name == UNANSWERABLE, QuestionTag.question_id.in_(part))
        )
        admitted = (
            select(Answer.question_id)
            .join(CheckFlag, CheckFlag.answer_id == Answer.id)
            .where(
                Answer.source.in_(("human", "imported")),
                CheckFlag.name == "dont_know",
                Answer.question_id.in_(part),
            )
        )
        found.update(session.scalars(tagged.union(admitted)))
    return found


def _findings(session: Session, generation_ids: Sequence[int]) -> dict[int, set[str]]:
    found: defaultdict[int, set[str]] = defaultdict(set)
    for part in chunks(generation_ids):
        for table, column in (
            (ReasoningVariant, CheckFlag.variant_id),
            (Answer, CheckFlag.answer_id),
        ):
            rows = session.execute(
                select(table.generation_id, CheckFlag.name)
                .join(CheckFlag, column == table.id)
                .where(table.generation_id.in_(part))
            )
            for generation_id, name in rows:
                if generation_id is not None:
                    found[generation_id].add(name)
    return found
