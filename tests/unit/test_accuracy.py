"""Accuracy by level with intervals over questions, agreement with people, and a round's measure."""

import uuid

import pytest
from sqlalchemy import select

from db.database import Database
from db.rating.ratings import NewRating, Target, add_ratings, ensure_model_rater, ensure_rater
from db.tables import Answer, Question
from db.texts.grades import set_answer_check
from serving.correctness.store import grade_answers
from tests.store_rows import make_answer, make_library, make_question, make_sweep
from tests.unit.round_lab import write_round
from workbench.insights.correctness import read_accuracy
from workbench.rounds.comparison import compare_round
from workbench.rounds.report import round_page
from workbench.stats.intervals import wilson


@pytest.fixture
def graded(database: Database) -> Database:
    """Twelve questions: the small model has 8 of 12 right, the tuned one 11 of 12."""
    with database.write() as session:
        make_library(session)
        sweep = make_sweep(session)
        ids = []
        for n in range(12):
            question = make_question(session, f"{n} + 1?", reference_answer=str(n + 1))
            ids.append(question)
            for model, right in ((1, n < 8), (2, n < 11)):
                text = f"It is {n + 1 if right else n + 2}."
                make_answer(session, question, None, text, model_version_id=model, sweep_id=sweep)
        make_answer(session, ids[0], None, "imported: 1", source="imported")
        set_answer_check(session, ids, "number")
    grade_answers(database, ids)
    return database


def test_each_level_has_its_accuracy_with_an_interval_over_questions(graded: Database) -> None:
    with graded.read() as session:
        found = read_accuracy(session, 1)
    assert (found.n_answers, found.n_questions, found.n_ungradable) == (24, 12, 0)
    assert found.overall is not None
    assert found.overall.value == pytest.approx(19 / 24)
    by_level = {(one.factor, one.level): one for one in found.levels}
    assert set(by_level) == {("model", "small"), ("model", "tuned")}
    small = by_level["model", "small"].accuracy
    assert small.value == pytest.approx(8 / 12)
    low, high = wilson(8 / 12, 12)  # one answer a question: never narrower than Wilson's
    assert small.low is not None
    assert small.high is not None
    assert small.low <= low + 1e-9
    assert small.high >= high - 1e-9


def test_all_answers_and_those_of_no_sweep_count_without_a_sweep(graded: Database) -> None:
    with graded.read() as session:
        found = read_accuracy(session)
        nothing = read_accuracy(session, 99)
    assert found.n_answers == 25
    assert nothing.overall is None


def test_people_and_judges_are_set_against_the_check(graded: Database) -> None:
    with graded.write() as session:
        person, judge = ensure_rater(session, "Aki"), ensure_model_rater(session, "judge")
        rows = session.execute(select(Answer.id, Answer.question_id, Answer.text)).all()
        ratings = []
        for place, row in enumerate(rows[:16]):
            right = row.text == f"It is {row.question_id}."
            for rater, value in ((person, right), (judge, right != (place < 2))):
                ratings.append(
                    NewRating(
                        rater_id=rater,
                        scope="answer",
                        target=Target(question_id=row.question_id, answer_id=row.id),
                        axis="ok",
                        value=float(value),
                        blind=False,
                        card_id=uuid.uuid4().hex,
                    )
                )
        add_ratings(session, ratings)
    with graded.read() as session:
        found = read_accuracy(session, 1)
    same = {(one.first, one.second): one.found.same.value for one in found.agreements}
    assert same == {
        ("check", "person"): 1.0,
        ("check", "model"): pytest.approx(14 / 16),
        ("person", "model"): pytest.approx(14 / 16),
    }


def test_a_round_tells_how_many_answers_are_correct(database: Database) -> None:
    found = write_round(database, 6)
    with database.write() as session:
        ids = list(session.scalars(select(Question.id)))
        for question in session.scalars(select(Question)):
            question.reference_answer = "round-first point"
        set_answer_check(session, ids, "contains")
    assert grade_answers(database, ids).graded
    with database.read() as session:
        comparison = compare_round(session, found)
    figures = {one.measure: one for one in comparison.models[-1].figures}
    assert (figures["correct"].found.value, figures["correct"].n_questions) == (1.0, 6)
    changes = {one.measure: one for one in comparison.models[-1].changes}
    assert changes["correct"].found.value == 1.0
    assert changes["correct"].is_better
    with database.read() as session:
        page = round_page(session, "first")
    assert "Reference answer: round-first point" in page
    assert "Correct answers" in page
