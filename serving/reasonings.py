"""Reasonings that people write or edit, stored and checked like those of models."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.identity import text_hash
from db.questions import get_question
from db.search import index_texts
from db.tables import ReasoningVariant, VariantParent
from serving.checks import CheckContext, check_reasoning
from serving.checks.store import NewText, TextFinding, note_sentences, store_findings

MAX_CHARACTERS = 100_000


def save_reasoning(
    session: Session,
    question_id: int,
    text: str,
    rater_id: int | None,
    *,
    parent_ids: Sequence[int] = (),
    note: str | None = None,
) -> int:
    """Store a reasoning that a person wrote, or made from ``parent_ids``; return its id.

    ``rater_id`` is None for one that the workbench puts together from a person's words.

    The same words by the same person from the same parents are stored once.

    Raises:
        UsageError: It has no words, is far too long, or changes nothing.
    """
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise UsageError("The reasoning is empty; write at least one word.")
    if len(text) > MAX_CHARACTERS:
        raise UsageError(
            "The reasoning has {n:,} characters; {most:,} fit.",
            n=len(text),
            most=MAX_CHARACTERS,
        )
    content_hash = text_hash(text)
    parents = list(parent_ids)
    rows = session.scalars(select(ReasoningVariant).where(ReasoningVariant.id.in_(parents))).all()
    if len(rows) < len(parents) or any(row.question_id != question_id for row in rows):
        raise UsageError("A reasoning is made from reasonings of the same question.")
    if any(row.content_hash == content_hash for row in rows):
        raise UsageError("Nothing was changed; change at least one word.")
    for known in session.scalars(
        select(ReasoningVariant).where(
            ReasoningVariant.question_id == question_id,
            ReasoningVariant.content_hash == content_hash,
            ReasoningVariant.author_id == rater_id,
        )
    ):
        if parents_of(session, known.id) == parents:
            return known.id
    variant = ReasoningVariant(
        question_id=question_id,
        text=text,
        source="edited" if parents else "human",
        content_hash=content_hash,
        author_id=rater_id,
        note=note,
    )
    session.add(variant)
    session.flush()
    session.add_all(
        VariantParent(variant_id=variant.id, parent_id=parent_id, position=position)
        for position, parent_id in enumerate(parents)
    )
    _check(session, variant)
    return variant.id


def parents_of(session: Session, variant_id: int) -> list[int]:
    """Return the reasonings that a reasoning was made from, in order."""
    return list(
        session.scalars(
            select(VariantParent.parent_id)
            .where(VariantParent.variant_id == variant_id)
            .order_by(VariantParent.position)
        )
    )


def _check(session: Session, variant: ReasoningVariant) -> None:
    """Make the text findable and run the checks on it, as on every reasoning."""
    question = get_question(session, variant.question_id)
    context = CheckContext(
        question=question.text,
        context=question.context,
        reference_answer=question.reference_answer,
        role=question.role,
        language=question.language,
    )
    index_texts(session, "variant", [(variant.id, variant.text)])
    findings = check_reasoning(variant.text, context)
    store_findings(session, [TextFinding(variant_id=variant.id, finding=f) for f in findings])
    text = NewText(question_id=variant.question_id, text=variant.text, variant_id=variant.id)
    store_findings(session, note_sentences(session, [text]))
