"""Grades in the store: what is missing, what is out of date, what stays; imports and commands."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database
from db.questions import NewQuestion, QuestionFilter, change_details, get_question, question_ids
from db.tables import AnswerGrade
from db.texts.grades import read_grades, set_answer_check
from serving.correctness import ANSWER_CHECKS
from serving.correctness.store import grade_answers
from serving.importers.question_files import import_path
from serving.sweeps.run import Progress
from tests.fakes.server import FakeServer
from tests.store_rows import make_answer, make_library, make_question
from tests.unit import sweep_lab as lab


@pytest.fixture
def asked(database: Database) -> tuple[Database, int, list[int]]:
    """A question with a reference and three answers."""
    with database.write() as session:
        make_library(session)
        question = make_question(
            session, "9 * 2?", reference_answer="#### 18", answer_check="number"
        )
        texts = ("It is 18.", "So 17", "答えは１８です。")
        answers = [make_answer(session, question, None, text) for text in texts]
        make_answer(session, make_question(session, "Unchecked?"), None, "18")
    return database, question, answers


def grades(database: Database, answers: list[int]) -> list[bool | None]:
    with database.read() as session:
        found = read_grades(session, answers)
    return [found[one].correct if one in found else None for one in answers]


def all_rows(database: Database) -> list[Any]:
    with database.read() as session:
        return list(session.execute(select(AnswerGrade.answer_id, AnswerGrade.is_current)).all())


def test_what_is_missing_is_graded_once(asked: tuple[Database, int, list[int]]) -> None:
    database, question, answers = asked
    with database.read() as session:
        every = question_ids(session, QuestionFilter())
    counts = grade_answers(database, every)
    assert (counts.graded, counts.correct, counts.ungradable) == (3, 2, 0)
    assert grades(database, answers) == [True, False, True]
    assert grade_answers(database, every).graded == 0
    with database.write() as session:
        later = make_answer(session, question, None, "eighteen, no: 19")
    assert grade_answers(database, every).graded == 1
    assert grades(database, [later]) == [False]


def test_a_new_reference_check_or_version_grades_anew_and_keeps_what_was(
    asked: tuple[Database, int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, question, answers = asked
    grade_answers(database, [question])
    with database.write() as session:
        new = NewQuestion(text="9 * 2?", reference_answer="17", answer_check="number")
        change_details(session, question, new)
    assert grade_answers(database, [question]).graded == 3
    assert grades(database, answers) == [False, True, False]
    with database.write() as session:
        assert set_answer_check(session, [question], "number:1") == 1
        assert set_answer_check(session, [question], "number:1") == 0
    assert grade_answers(database, [question]).correct == 3
    entry = ANSWER_CHECKS["number"]
    newer = type(entry)(entry.grade, entry.problem, version=entry.version + 1)
    monkeypatch.setitem(ANSWER_CHECKS, "number", newer)
    assert grade_answers(database, [question]).graded == 3
    rows = all_rows(database)
    assert len(rows) == 12  # four times three, of which three hold
    assert sum(row.is_current for row in rows) == 3


def test_without_a_check_no_grade_holds(asked: tuple[Database, int, list[int]]) -> None:
    database, question, answers = asked
    grade_answers(database, [question])
    with database.write() as session:
        set_answer_check(session, [question], None)
    assert grade_answers(database, [question]).retired == 3
    assert grades(database, answers) == [None] * 3
    assert len(all_rows(database)) == 3


def test_a_reference_that_does_not_fit_is_said(asked: tuple[Database, int, list[int]]) -> None:
    database, question, answers = asked
    with database.write() as session:
        set_answer_check(session, [question], "option")
    assert grade_answers(database, [question]).ungradable == 3
    with database.read() as session:
        found = read_grades(session, answers)
    assert "option letter" in found[answers[0]].found


def test_imports_bring_checks_and_grade_their_answers(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "sums.csv"
    file.write_text(
        "question,reference_answer,answer_check,answer\n"
        "2 + 2?,4,,It is 4.\n"
        "Capital of Japan?,Tokyo,contains,It is Tokyo.\n"
        "Why?,,,Because.\n",
        encoding="utf-8",
    )
    import_path(database, file, answer_check="number")
    with database.read() as session:
        rows = {
            row.text: row.answer_check
            for id in question_ids(session, QuestionFilter())
            for row in [get_question(session, id)]
        }
        found = read_grades(session, [1, 2, 3])
    assert rows == {"2 + 2?": "number", "Capital of Japan?": "contains", "Why?": None}
    assert {id: grade.correct for id, grade in found.items()} == {1: True, 2: True}


def test_a_check_that_is_none_is_refused_in_its_line(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "sums.csv"
    file.write_text("question,reference_answer,answer_check\n2 + 2?,4,guess\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"line 2, field 'answer_check'.*There is no answer check"):
        import_path(database, file)


async def test_answers_are_graded_while_their_sweep_still_runs(
    database: Database, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.fill(database, 3)
    with database.write() as session:
        set_answer_check(session, [1, 3], "contains")
    monkeypatch.setattr("serving.sweeps.run.GRADE_EVERY_S", 0.02)
    monkeypatch.setattr("serving.sweeps.run.REPORT_EVERY_S", 0.02)
    fake_server.latency_s = 0.1
    graded: list[tuple[int, bool]] = []

    def look(progress: Progress) -> None:
        n = lab.scalar(database, "SELECT count(*) FROM answer_grade")
        graded.append((n, progress.done < progress.total))

    sweep = lab.save(database, variants=2, answers=3)
    await lab.run(database, sweep, fake_server.endpoint, max_num_seqs=2, on_progress=look)
    assert any(n and is_running for n, is_running in graded)
    held = "SELECT count(*), count(DISTINCT answer_id) FROM answer_grade WHERE is_current"
    assert lab.rows(database, held) == [(12, 12)]
