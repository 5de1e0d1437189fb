"""Grades of answers: whether each is correct by the check of its question.

An answer has at most one grade that holds (``AnswerGrade.is_current``); those before it stay.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from db.bulk import chunks, insert_missing
from db.rating.ratings import OK, active_ratings
from db.tables import Answer, AnswerGrade, Question, Rater, Rating, SweepGeneration, utc_now


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeFilter:
    """Which grades; an empty field asks for nothing."""

    sweep_id: int | None = None
    """Only of answers that this sweep wrote or found written."""


def graded_texts(session: Session, filter: GradeFilter) -> dict[str, list[object]]:
    """Return the grades that hold as columns of equal length, for a data frame."""
    query = (
        select(Answer.question_id, Answer.id.label("answer_id"), AnswerGrade.correct)
        .join(AnswerGrade, and_(AnswerGrade.answer_id == Answer.id, AnswerGrade.is_current))
        .order_by(Answer.id)
    )
    if filter.sweep_id is not None:
        query = query.join(
            SweepGeneration, SweepGeneration.generation_id == Answer.generation_id
        ).where(SweepGeneration.sweep_id == filter.sweep_id)
    rows = session.execute(query).all()
    return {
        name: [getattr(row, name) for row in rows]
        for name in ("question_id", "answer_id", "correct")
    }


def ok_ratings(session: Session, answer_ids: Iterable[int]) -> dict[str, list[object]]:
    """Return who called which of these answers OK (1) or not (0), as columns of equal length."""
    found: dict[str, list[object]] = {
        name: [] for name in ("answer_id", "question_id", "observer", "rater_id", "value")
    }
    for some in chunks(answer_ids):
        rows = session.execute(
            active_ratings()
            .join(Rater, Rater.id == Rating.rater_id)
            .where(Rating.scope == "answer", Rating.axis == OK, Rating.answer_id.in_(some))
            .with_only_columns(
                Rating.answer_id,
                Rating.question_id,
                Rater.kind.label("observer"),
                Rating.rater_id,
                Rating.value,
            )
        )
        for row in rows:
            for name, value in row._mapping.items():
                found[name].append(value)
    return found
