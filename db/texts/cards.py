"""One question with its reasonings and their answers side by side."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.questions import QuestionRow, get_question
from db.tables import Answer, Generation, ReasoningVariant, SweepGeneration
from db.texts.rows import TextRow, read_parents, read_texts

MAX_VARIANTS = 100
"""Reasonings on one card; the list of texts pages through more."""
MAX_ANSWERS = 1_000
"""Answers on one card, over all its reasonings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCard:
    """A reasoning and the answers that were written under it."""

    variant: TextRow
    parent_ids: tuple[int, ...]
    """The variants that it was made from."""
    answers: tuple[TextRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionCard:
    """A question with its reasonings, oldest first, and the answers under each."""

    question: QuestionRow
    variants: tuple[VariantCard, ...]
    without_reasoning: tuple[TextRow, ...]
    """Answers under no reasoning."""
    n_variants: int
    """All there are; ``variants`` holds the first ``MAX_VARIANTS``."""
    n_answers: int
    """All there are; the card holds the first ``MAX_ANSWERS``."""
    n_failed: int
    """Attempts that gave nothing usable and whose slot has no good one."""


def question_card(session: Session, question_id: int, sweep_id: int | None = None) -> QuestionCard:
    """Return a question with its texts: all of them, or those that one sweep shows.

    A sweep's card also holds the reasonings that were given to it, for its answers to stand under.

    Raises:
        UsageError: There is no such question.
    """
    question = get_question(session, question_id)
    answer_ids = _answer_ids(session, question_id, sweep_id)
    answers = read_texts(session, "answer", answer_ids[:MAX_ANSWERS])
    given = {row.variant_id for row in answers.values() if row.variant_id is not None}
    variant_ids = _variant_ids(session, question_id, sweep_id, given)
    under = _by_reasoning(answers)
    return QuestionCard(
        question=question,
        variants=_cards(session, variant_ids[:MAX_VARIANTS], under),
        without_reasoning=tuple(under[None]),
        n_variants=len(variant_ids),
        n_answers=len(answer_ids),
        n_failed=_n_failed(session, question_id, sweep_id),
    )


def variant_cards(
    session: Session, question_id: int, variant_ids: Sequence[int]
) -> dict[int, VariantCard]:
    """Return those of the named reasonings that are of the question, with their newest answers.

    However many reasonings the question has, each of them can be read.
    """
    own = (
        select(ReasoningVariant.id)
        .where(ReasoningVariant.id.in_(variant_ids))
        .where(ReasoningVariant.question_id == question_id)
    )
    ids = sorted(session.scalars(own))
    under_them = (
        select(Answer.id)
        .where(Answer.variant_id.in_(ids))
        .order_by(Answer.id.desc())
        .limit(MAX_ANSWERS)
    )
    answers = read_texts(session, "answer", list(session.scalars(under_them)))
    return {one.variant.id: one for one in _cards(session, ids, _by_reasoning(answers))}


def _by_reasoning(answers: Mapping[int, TextRow]) -> defaultdict[int | None, list[TextRow]]:
    under: defaultdict[int | None, list[TextRow]] = defaultdict(list)
    for answer_id in sorted(answers):
        under[answers[answer_id].variant_id].append(answers[answer_id])
    return under


def _cards(
    session: Session, variant_ids: Sequence[int], under: Mapping[int | None, list[TextRow]]
) -> tuple[VariantCard, ...]:
    variants = read_texts(session, "variant", variant_ids)
    parents = read_parents(session, list(variants))
    return tuple(
        VariantCard(
            variant=variants[variant_id],
            parent_ids=tuple(parents[variant_id]),
            answers=tuple(under.get(variant_id, ())),
        )
        for variant_id in sorted(variants)
    )


def _answer_ids(session: Session, question_id: int, sweep_id: int | None) -> list[int]:
    query = select(Answer.id).where(Answer.question_id == question_id)
    if sweep_id is not None:
        query = query.where(_is_shown(sweep_id, Answer.generation_id))
    return sorted(session.scalars(query))


def _variant_ids(
    session: Session, question_id: int, sweep_id: int | None, given: set[int]
) -> list[int]:
    query = select(ReasoningVariant.id).where(
        ReasoningVariant.question_id == question_id, ReasoningVariant.source != "control"
    )
    if sweep_id is not None:
        query = query.where(_is_shown(sweep_id, ReasoningVariant.generation_id))
    return sorted(set(session.scalars(query)) | given)


def _n_failed(session: Session, question_id: int, sweep_id: int | None) -> int:
    good = select(Generation.slot_key).where(Generation.question_id == question_id, Generation.ok)
    failed = select(func.count(Generation.slot_key.distinct())).where(
        Generation.question_id == question_id,
        ~Generation.ok,
        Generation.slot_key.not_in(good),
    )
    if sweep_id is not None:
        failed = failed.where(_is_shown(sweep_id, Generation.id))
    return session.scalar(failed) or 0


def _is_shown(sweep_id: int, generation_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Ask each generation of a question for the sweep; a sweep has far more of them."""
    return exists().where(
        SweepGeneration.sweep_id == sweep_id, SweepGeneration.generation_id == generation_id
    )
