"""What prompts are made of: questions and reasonings, read in bulk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.tables import Generation, Question, ReasoningVariant, SweepGeneration
from db.texts.rows import TABLES, ListedKind, read_parents


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionText:
    """What a prompt, a check and a slot key need of a question."""

    id: int
    content_hash: str
    text: str
    context: str
    reference_answer: str | None
    role: str
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenVariant:
    """A reasoning of a sweep, with the factors that it was written at."""

    variant_id: int
    text: str
    question_id: int
    mode: str
    prompt_format_id: int
    role_id: int
    model_version_id: int
    sampling_id: int
    replicate: int
    parent_ids: tuple[int, ...]


def question_texts(session: Session, question_ids: Sequence[int]) -> list[QuestionText]:
    """Return questions in the order of ``question_ids``; those that are gone are left out."""
    columns = [getattr(Question, name) for name in QuestionText.__slots__]
    rows = session.execute(select(*columns).where(Question.id.in_(question_ids)))
    found = {row.id: QuestionText(**row._mapping) for row in rows}
    return [found[one] for one in question_ids if one in found]


def plain_texts(session: Session, kind: ListedKind, ids: Iterable[int]) -> dict[int, str]:
    """Return the texts of reasonings, or of answers, by id; those that are gone are left out."""
    table = TABLES[kind]
    texts: dict[int, str] = {}
    for some in chunks(ids):
        rows = session.execute(select(table.id, table.text).where(table.id.in_(some)))
        texts.update((row[0], row[1]) for row in rows)
    return texts


def variants_of_sweep(
    session: Session, sweep_id: int, question_ids: Sequence[int]
) -> list[WrittenVariant]:
    """Return the reasonings of a sweep under some questions, in a fixed order."""
    query = (
        select(
            ReasoningVariant.id.label("variant_id"),
            ReasoningVariant.text,
            Generation.question_id,
            Generation.mode,
            Generation.prompt_format_id,
            Generation.role_id,
            Generation.model_version_id,
            Generation.sampling_id,
            Generation.replicate,
        )
        .join(Generation, Generation.id == ReasoningVariant.generation_id)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(
            SweepGeneration.sweep_id == sweep_id,
            Generation.question_id.in_(question_ids),
            Generation.kind == "reasoning",
        )
        .order_by(ReasoningVariant.id)
    )
    rows = session.execute(query).all()
    parents = read_parents(session, [row.variant_id for row in rows if row.mode == "ensemble"])
    return [
        WrittenVariant(**row._mapping, parent_ids=tuple(parents[row.variant_id])) for row in rows
    ]
