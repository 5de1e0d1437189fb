"""Grades in the store: what is missing or out of date is found, compared and written."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from db.bulk import chunks
from db.database import Database
from db.errors import Q2QError
from db.texts.grades import (
    AskedCheck,
    GradedAnswer,
    NewGrade,
    add_grades,
    asked_checks,
    checked_question_ids,
    graded_answers,
    retire_grades,
)
from db.texts.inputs import plain_texts
from serving.correctness import AnswerCheck, parse_answer_check

QUESTIONS_AT_ONCE = 200
ANSWERS_AT_ONCE = 500


@dataclass(slots=True, kw_only=True)
class GradingCounts:
    """What grading did."""

    graded: int = 0
    """Answers that have a new grade."""
    correct: int = 0
    ungradable: int = 0
    """Of these, those whose question's reference answer does not fit its check."""
    retired: int = 0
    """Grades that hold no longer, since their question has no check any more."""


def grade_answers(
    database: Database,
    question_ids: Iterable[int],
    *,
    on_graded: Callable[[int], None] = lambda n: None,
    stopped: Callable[[], bool] = lambda: False,
) -> GradingCounts:
    """Grade the answers to these questions whose grade is missing or out of date.

    Texts are compared outside of any transaction, and written in short ones: sweeps go on beside.

    Args:
        database: The store.
        question_ids: Of these questions; those without a check lose the grades that they had.
        on_graded: Told how many answers were graded, now and then.
        stopped: Asked between batches whether to leave the rest for another time.
    """
    counts = GradingCounts()
    for ids in chunks(question_ids, QUESTIONS_AT_ONCE):
        with database.read() as session:
            asked = {one.question_id: one for one in asked_checks(session, ids)}
            answers = graded_answers(session, ids)
        wanted = {id: _wanted(one) for id, one in asked.items()}
        stale = [one for one in answers if one.check_key and wanted.get(one.question_id) is None]
        if stale:
            with database.write() as session:
                retire_grades(session, [one.answer_id for one in stale])
            counts.retired += len(stale)
        missing = [
            one
            for one in answers
            if (found := wanted.get(one.question_id)) is not None and found[1] != one.check_key
        ]
        for some in chunks(missing, ANSWERS_AT_ONCE):
            if stopped():
                return counts
            _grade(database, some, asked, wanted, counts)
            on_graded(counts.graded)
    return counts


def grade_checked(
    database: Database,
    question_ids: Iterable[int],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Grade new answers to those of these questions that have a check, beside other work.

    What cannot be stored now is graded with the next answers: that is no reason to fail.
    """
    with database.read() as session:
        checked = set(checked_question_ids(session))
    if wanted := [one for one in question_ids if one in checked]:
        with suppress(Q2QError):
            grade_answers(database, wanted, stopped=stopped)


def _wanted(asked: AskedCheck) -> tuple[AnswerCheck, str] | None:
    """Return the check of a question with the key that its grades bear now."""
    check = parse_answer_check(asked.answer_check or "")
    return (check, check.key(asked.reference_answer)) if check else None


def _grade(
    database: Database,
    answers: Sequence[GradedAnswer],
    asked: dict[int, AskedCheck],
    wanted: dict[int, tuple[AnswerCheck, str] | None],
    counts: GradingCounts,
) -> None:
    with database.read() as session:
        texts = plain_texts(session, "answer", [one.answer_id for one in answers])
    grades = []
    for one in answers:
        found = wanted[one.question_id]
        if found is None or one.answer_id not in texts:
            continue
        check, key = found
        reference = asked[one.question_id].reference_answer
        grade = check.grade(texts[one.answer_id], reference)
        counts.correct += grade.correct is True
        counts.ungradable += grade.correct is None
        grades.append(
            NewGrade(
                answer_id=one.answer_id,
                answer_check=str(check),
                check_key=key,
                correct=grade.correct,
                found=grade.found,
            )
        )
    counts.graded += len(grades)
    with database.write() as session:
        add_grades(session, grades)
