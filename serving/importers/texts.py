"""Imported reasonings and answers: stored, made findable and checked, in bulk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.search import index_texts
from db.tables import Answer, ReasoningVariant, utc_now
from serving.checks import CheckContext, check_answer, check_reasoning
from serving.checks.boilerplate import NewText, note_sentences
from serving.checks.store import TextFinding, store_findings
from serving.importers.changes import QuestionChange, chunks


@dataclass(frozen=True, slots=True)
class _Variant:
    change: QuestionChange
    content_hash: str
    text: str


@dataclass(frozen=True, slots=True)
class _Answer:
    change: QuestionChange
    variant_hash: str | None
    content_hash: str
    text: str


def insert_texts(session: Session, changes: Sequence[QuestionChange]) -> tuple[int, int]:
    """Store the new texts of ``changes``, whose questions are stored; return how many of each.

    The first number counts reasonings, the second answers.
    """
    n_variants = n_answers = 0
    for variants in chunks(_new_variants(changes)):
        _insert_variants(session, variants)
        n_variants += len(variants)
    for answers in chunks(_new_answers(changes)):
        _insert_answers(session, answers)
        n_answers += len(answers)
    return n_variants, n_answers


def _new_variants(changes: Sequence[QuestionChange]) -> Iterator[_Variant]:
    for change in changes:
        for content_hash, text in change.new_variants.items():
            yield _Variant(change, content_hash, text)


def _new_answers(changes: Sequence[QuestionChange]) -> Iterator[_Answer]:
    for change in changes:
        for (variant_hash, content_hash), text in change.new_answers.items():
            yield _Answer(change, variant_hash, content_hash, text)


def _insert_variants(session: Session, variants: Sequence[_Variant]) -> None:
    now = utc_now()
    inserted = session.execute(
        insert(ReasoningVariant).returning(
            ReasoningVariant.id, ReasoningVariant.question_id, ReasoningVariant.content_hash
        ),
        [
            {
                "question_id": variant.change.question_id,
                "text": variant.text,
                "source": "imported",
                "content_hash": variant.content_hash,
                "created_at": now,
            }
            for variant in variants
        ],
    )
    ids = {(question_id, content_hash): new_id for new_id, question_id, content_hash in inserted}
    findings, texts, indexed = [], [], []
    for variant in variants:
        change = variant.change
        variant_id = ids[_question_id(change), variant.content_hash]
        change.variants[variant.content_hash] = variant_id
        indexed.append((variant_id, variant.text))
        for finding in check_reasoning(variant.text, _context(change)):
            findings.append(TextFinding(variant_id=variant_id, finding=finding))
        texts.append(
            NewText(question_id=_question_id(change), text=variant.text, variant_id=variant_id)
        )
    index_texts(session, "variant", indexed)
    store_findings(session, findings)
    store_findings(session, note_sentences(session, texts))


def _insert_answers(session: Session, answers: Sequence[_Answer]) -> None:
    now = utc_now()
    inserted = session.execute(
        insert(Answer).returning(
            Answer.id, Answer.question_id, Answer.variant_id, Answer.content_hash
        ),
        [
            {
                "question_id": answer.change.question_id,
                "variant_id": _variant_id(answer),
                "text": answer.text,
                "source": "imported",
                "content_hash": answer.content_hash,
                "created_at": now,
            }
            for answer in answers
        ],
    )
    ids = {
        (question_id, variant_id, content_hash): new_id
        for new_id, question_id, variant_id, content_hash in inserted
    }
    reasonings = _reasonings(session, answers)
    findings, texts, indexed = [], [], []
    for answer in answers:
        change, variant_id = answer.change, _variant_id(answer)
        answer_id = ids[_question_id(change), variant_id, answer.content_hash]
        indexed.append((answer_id, answer.text))
        for finding in check_answer(answer.text, _context(change), reasonings.get(variant_id)):
            findings.append(TextFinding(answer_id=answer_id, finding=finding))
            if finding.name == "answer_leak":  # what one gives away, the other holds
                findings.append(TextFinding(variant_id=variant_id, finding=finding))
        texts.append(
            NewText(question_id=_question_id(change), text=answer.text, answer_id=answer_id)
        )
    index_texts(session, "answer", indexed)
    store_findings(session, findings)
    store_findings(session, note_sentences(session, texts))


def _reasonings(session: Session, answers: Sequence[_Answer]) -> dict[int | None, str]:
    """Return the reasonings that ``answers`` stand under, by id, whether new or stored before."""
    ids = {variant_id for answer in answers if (variant_id := _variant_id(answer)) is not None}
    found = select(ReasoningVariant.id, ReasoningVariant.text).where(ReasoningVariant.id.in_(ids))
    return dict(session.execute(found).all())


def _question_id(change: QuestionChange) -> int:
    if change.question_id is None:
        raise RuntimeError("questions are stored before their texts")
    return change.question_id


def _variant_id(answer: _Answer) -> int | None:
    if answer.variant_hash is None:
        return None
    return answer.change.variants[answer.variant_hash]


def _context(change: QuestionChange) -> CheckContext:
    return CheckContext(
        question=change.row.text,
        context=change.row.context,
        reference_answer=change.reference_answer,
        role=change.row.role,
        language=change.language,
    )
