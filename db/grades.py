"""Grades of answers: whether each is correct by the check of its question.

An answer has at most one grade that holds (``AnswerGrade.is_current``); those before it stay.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from db.bulk import chunks, insert_missing
from db.tables import Answer, AnswerGrade, Question, utc_now


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCheck:
    """How answers to one question are compared."""

    question_id: int
    answer_check: str | None
    reference_answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedAnswer:
    """An answer, and by what its grade that holds was given."""

    answer_id: int
    question_id: int
    check_key: str | None
    """None: it has no grade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrade:
    """A grade to be stored."""

    answer_id: int
    answer_check: str
    check_key: str
    correct: bool | None
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeRow:
    """The grade of an answer that holds."""

    answer_check: str
    correct: bool | None
    found: str


def checked_question_ids(session: Session) -> list[int]:
    """Return the ids of the questions whose answers are checked."""
    query = select(Question.id).where(Question.answer_check.is_not(None))
    return list(session.scalars(query.order_by(Question.id)))


def asked_checks(session: Session, question_ids: Sequence[int]) -> list[AskedCheck]:
    """Return how answers to these questions are compared."""
    columns = (
        Question.id.label("question_id"),
        Question.answer_check,
        Question.reference_answer,
    )
    rows = session.execute(select(*columns).where(Question.id.in_(question_ids)))
    return [AskedCheck(**row._mapping) for row in rows]


def graded_answers(session: Session, question_ids: Sequence[int]) -> list[GradedAnswer]:
    """Return all answers to these questions, oldest first."""
    rows = session.execute(
        select(Answer.id.label("answer_id"), Answer.question_id, AnswerGrade.check_key)
        .outerjoin(AnswerGrade, and_(AnswerGrade.answer_id == Answer.id, AnswerGrade.is_current))
        .where(Answer.question_id.in_(question_ids))
        .order_by(Answer.id)
    )
    return [GradedAnswer(**row._mapping) for row in rows]


def add_grades(session: Session, grades: Sequence[NewGrade]) -> None:
    """Store grades, each in place of the one that its answer had."""
    retire_grades(session, [one.answer_id for one in grades])
    now = utc_now()
    insert_missing(
        session,
        AnswerGrade,
        [
            {
                "answer_id": one.answer_id,
                "answer_check": one.answer_check,
                "check_key": one.check_key,
                "correct": one.correct,
                "found": one.found,
                "is_current": True,
                "created_at": now,
            }
            for one in grades
        ],
    )


def retire_grades(session: Session, answer_ids: Iterable[int]) -> None:
    """Let the grades of these answers hold no longer; they stay as what was found once."""
    for some in chunks(answer_ids):
        session.execute(
            update(AnswerGrade)
            .where(AnswerGrade.answer_id.in_(some), AnswerGrade.is_current)
            .values(is_current=False)
        )


def read_grades(session: Session, answer_ids: Iterable[int]) -> dict[int, GradeRow]:
    """Return the grades of these answers that hold, by answer."""
    found: dict[int, GradeRow] = {}
    for some in chunks(answer_ids):
        rows = session.execute(
            select(
                AnswerGrade.answer_id,
                AnswerGrade.answer_check,
                AnswerGrade.correct,
                AnswerGrade.found,
            ).where(AnswerGrade.answer_id.in_(some), AnswerGrade.is_current)
        )
        for answer_id, answer_check, correct, text in rows:
            found[answer_id] = GradeRow(answer_check=answer_check, correct=correct, found=text)
    return found


def set_answer_check(session: Session, question_ids: Iterable[int], check: str | None) -> int:
    """Have answers to these questions compared by ``check``; return how many questions changed."""
    n_changed = 0
    for some in chunks(question_ids):
        different = Question.answer_check.is_distinct_from(check)
        changed = session.execute(
            update(Question)
            .where(Question.id.in_(some), different)
            .values(answer_check=check)
            .returning(Question.id)
        )
        n_changed += len(changed.all())
    return n_changed


def grades_mark(session: Session) -> int:
    """Return a number that changes with every grade: the id of the newest."""
    return session.scalar(select(func.max(AnswerGrade.id))) or 0
