"""Texts that may become rows, and the rows that they may become; without their words."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import Answer, CheckFlag, Generation, ReasoningVariant, Role, VariantParent
from training.datasets.payload import Target
from training.datasets.proposals import Proposal


class Variant(NamedTuple):
    """A reasoning without its words."""

    id: int
    question_id: int
    source: str
    role: str | None
    """The role that a model wrote it in; None: the question's own."""


class AnswerKey(NamedTuple):
    """An answer without its words."""

    id: int
    question_id: int
    variant_id: int | None
    parent_id: int | None
    source: str
    role: str | None


@dataclass(slots=True, kw_only=True)
class Candidate:
    """What a rule took and may become a row."""

    rule: str
    """The first rule that took it."""
    question_id: int
    target: Target
    variant_id: int | None = None
    answer_id: int | None = None
    rejected_variant_id: int | None = None
    rejected_answer_id: int | None = None
    next_question_id: int | None = None
    """The question to be asked, for rows from question to question."""
    proposal: Proposal | None = None
    """What a model was asked and people chose, for rows of next questions."""
    role: str | None = None
    label: bool | None = None
    score: float = 0.5
    rating_ids: frozenset[int] = frozenset()
    is_contradictory: bool = False
    is_flagged: bool = False
    """A rater put a flag on what is to be learned."""


@dataclass(slots=True)
class Pool:
    """The texts of the selected questions; controls, which are wrong on purpose, are not in it."""

    variants: dict[int, Variant] = field(default_factory=dict)
    answers: dict[int, AnswerKey] = field(default_factory=dict)
    variant_parents: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    variant_findings: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    answer_findings: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """What the checks found on each text."""

    def role_of(self, variant_id: int | None, answer_id: int | None) -> str | None:
        """Return the role that a row's texts were written in; None: the question's own."""
        answer = self.answers.get(answer_id) if answer_id is not None else None
        variant = self.variants.get(variant_id) if variant_id is not None else None
        return (answer.role if answer else None) or (variant.role if variant else None)

    def finding(
        self, variant_id: int | None, answer_id: int | None, names: Sequence[str]
    ) -> str | None:
        """Return the first of ``names`` that was found on one of these texts."""
        found = self.variant_findings.get(variant_id or 0, set()) | self.answer_findings.get(
            answer_id or 0, set()
        )
        return next((name for name in names if name in found), None)


def read_pool(session: Session, question_ids: Collection[int]) -> Pool:
    """Return the texts of these questions, with what the checks found on them."""
    wanted = set(question_ids)
    pool = Pool()
    for variant in _variants(session):
        if variant.question_id in wanted:
            pool.variants[variant.id] = variant
    for answer in _answers(session):
        under_control = answer.variant_id is not None and answer.variant_id not in pool.variants
        if answer.question_id in wanted and not under_control:
            pool.answers[answer.id] = answer
    links = select(VariantParent.variant_id, VariantParent.parent_id).order_by(
        VariantParent.variant_id, VariantParent.position
    )
    for variant_id, parent_id in session.execute(links):
        if variant_id in pool.variants and parent_id in pool.variants:
            pool.variant_parents[variant_id].append(parent_id)
    found = select(CheckFlag.variant_id, CheckFlag.answer_id, CheckFlag.name)
    for flagged_variant, flagged_answer, name in session.execute(found):
        if flagged_variant is not None:
            pool.variant_findings[flagged_variant].add(name)
        elif flagged_answer is not None:
            pool.answer_findings[flagged_answer].add(name)
    return pool


def _variants(session: Session) -> Iterator[Variant]:
    table = ReasoningVariant
    query = (
        select(table.id, table.question_id, table.source, Role.name)
        .outerjoin(Generation, Generation.id == table.generation_id)
        .outerjoin(Role, Role.id == Generation.role_id)
        .where(table.source != "control")
        .order_by(table.id)
    )
    return (Variant(*row) for row in session.execute(query))


def _answers(session: Session) -> Iterator[AnswerKey]:
    query = (
        select(
            Answer.id,
            Answer.question_id,
            Answer.variant_id,
            Answer.parent_id,
            Answer.source,
            Role.name,
        )
        .outerjoin(Generation, Generation.id == Answer.generation_id)
        .outerjoin(Role, Role.id == Generation.role_id)
        .order_by(Answer.id)
    )
    return (AnswerKey(*row) for row in session.execute(query))
