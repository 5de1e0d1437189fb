"""Questions are found by what people filter by; their texts never change."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from db.bulk import COUNT_LIMIT, Page
from db.database import Database
from db.errors import UsageError
from db.questions import (
    NewQuestion,
    QuestionFilter,
    add_question,
    change_details,
    edit_question,
    get_question,
    list_questions,
    question_facets,
    question_ids,
    tag_questions,
)
from db.tables import Question
from tests.store_rows import make_answer, make_library, make_question, make_variant

DAY = datetime(2026, 11, 23, tzinfo=UTC)


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, object]]]:
    """Collect the statements, with their values, that run inside the block.

    Left out is the look at the start of each transaction for rows that nobody may see yet.
    """
    seen: list[tuple[str, object]] = []

    def note(_: object, __: object, statement: str, values: object, *___: object) -> None:
        if not statement.startswith("BEGIN") and "FROM staged_range" not in statement:
            seen.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@pytest.fixture
def filled(database: Database) -> Database:
    with database.write() as session:
        for number, new in enumerate(
            (
                NewQuestion(text="Why is the sky blue?", language="en", category="physics",
                            tags=("light", "air")),
                NewQuestion(text="富士山の高さは？", language="ja", role="translator"),
                NewQuestion(text="What is water?", context="At sea level", language="en",
                            category="physics", tags=("water",)),
                NewQuestion(text="Write a poem.", language="en", role="creator", source="example"),
            )
        ):  # fmt: skip
            add_question(session, new)
            session.get_one(Question, number + 1).created_at = DAY + timedelta(seconds=number)
    return database


def ids(page: Page[object]) -> list[int]:
    return [row.id for row in page.rows]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (QuestionFilter(), [4, 3, 2, 1]),
        (QuestionFilter(search="富士"), [2]),
        (QuestionFilter(search="sea"), [3]),
        (QuestionFilter(search="***"), []),
        (QuestionFilter(search="  "), [4, 3, 2, 1]),
        (QuestionFilter(ids=(1, 4)), [4, 1]),
        (QuestionFilter(ids=()), []),
        (QuestionFilter(tags=("water", "air")), [3, 1]),
        (QuestionFilter(tags=("nowhere",)), []),
        (QuestionFilter(roles=("creator", "translator")), [4, 2]),
        (QuestionFilter(categories=("physics",), languages=("en",)), [3, 1]),
        (QuestionFilter(sources=("example",)), [4]),
        (QuestionFilter(has_answers=True), []),
        (QuestionFilter(has_answers=False, search="w"), [4, 3, 1]),
    ],
)
def test_a_filter_finds(filled: Database, wanted: QuestionFilter, found: list[int]) -> None:
    with filled.read() as session:
        assert ids(list_questions(session, wanted)) == found
        assert question_ids(session, wanted) == sorted(found)


def test_a_row_tells_all_about_its_question(filled: Database) -> None:
    with filled.write() as session:
        make_library(session)
        variant = make_variant(session, 1, "You should ask the light.")
        make_answer(session, 1, variant, "Rayleigh.")
        make_answer(session, 1, None, "It is.")
    with filled.read() as session:
        row = get_question(session, 1)
    assert (row.ref, row.text, row.tags) == ("q1", "Why is the sky blue?", ("air", "light"))
    assert (row.n_variants, row.n_answers, row.parent_id) == (1, 2, None)
    assert row.created_at == DAY


def test_pages_follow_each_other_and_one_beyond_the_end_is_the_last(filled: Database) -> None:
    with filled.read() as session:
        first = list_questions(session, QuestionFilter(), page=1, page_size=3)
        second = list_questions(session, QuestionFilter(), page=2, page_size=3)
        beyond = list_questions(session, QuestionFilter(), page=9, page_size=3)
        empty = list_questions(session, QuestionFilter(ids=()), page=9, page_size=3)
    assert (ids(first), ids(second)) == ([4, 3, 2], [1])
    assert (first.total, first.n_pages, first.is_capped) == (4, 2, False)
    assert beyond == second
    assert (empty.rows, empty.total, empty.page, empty.n_pages) == ((), 0, 1, 1)


def test_a_long_list_is_counted_up_to_a_limit_only(database: Database) -> None:
    n_questions = COUNT_LIMIT + 10
    with database.write() as session:
        values = [
            {"text": f"Question {i}", "content_hash": str(i), "created_at": DAY}
            for i in range(n_questions)
        ]
        session.execute(Question.__table__.insert(), values)  # type: ignore[attr-defined]
    with database.read() as session:
        page = list_questions(session, QuestionFilter(), page=10**6, page_size=25)
    assert (page.total, page.is_capped) == (COUNT_LIMIT, True)
    assert page.page == page.n_pages
    assert len(page.rows) == 25


def test_a_page_costs_the_same_few_queries_however_long_it_is(filled: Database) -> None:
    counts = []
    for page_size in (1, 4):
        with filled.read() as session, statements(filled) as seen:
            list_questions(session, QuestionFilter(), page_size=page_size)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 5


def test_the_newest_questions_are_read_in_order_and_not_sorted(filled: Database) -> None:
    with filled.read() as session, statements(filled) as seen:
        list_questions(session, QuestionFilter(roles=("creator",), languages=("en",)))
        list_questions(session, QuestionFilter())
    plan = explain(filled, *seen[-5])
    assert "ix_question_newest" in plan
    assert "TEMP B-TREE FOR ORDER BY" not in plan


def explain(database: Database, statement: str, values: object) -> str:
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[call-overload]
        return "\n".join(row[3] for row in rows)


def test_facets_count_what_there_is_most_frequent_first(filled: Database) -> None:
    with filled.read() as session:
        facets = question_facets(session)
    assert facets.total == 4
    assert facets.tags == {"air": 1, "light": 1, "water": 1}
    assert list(facets.roles.items()) == [("assistant", 2), ("creator", 1), ("translator", 1)]
    assert facets.categories == {"physics": 2}
    assert list(facets.languages.items()) == [("en", 3), ("ja", 1)]


def test_adding_a_known_question_adds_nothing(filled: Database) -> None:
    with filled.write() as session:
        assert add_question(session, NewQuestion(text="  What is water?\n",
                                                 context="At sea level")) == (3, False)  # fmt: skip
        assert add_question(session, NewQuestion(text="What is water?"))[1]


def test_a_question_needs_a_text(database: Database) -> None:
    with database.write() as session, pytest.raises(UsageError, match="needs a text"):
        add_question(session, NewQuestion(text=" \n "))


def test_an_edit_is_a_child_and_an_edit_of_it_knows_its_root(filled: Database) -> None:
    with filled.write() as session:
        session.get_one(Question, 1).held_out = True
        child, is_new = edit_question(session, 1, NewQuestion(text="Why is dusk red?"))
        grandchild, _ = edit_question(session, child, NewQuestion(text="Why is dawn red?"))
    with filled.read() as session:
        first, second = get_question(session, child), get_question(session, grandchild)
        assert list_questions(session, QuestionFilter(search="dusk")).rows[0].id == child
        assert get_question(session, 1).text == "Why is the sky blue?"
    assert is_new
    assert (first.parent_id, first.root_id, first.move, first.held_out) == (1, 1, "edit", True)
    assert (second.parent_id, second.root_id) == (child, 1)


def test_an_edit_of_details_alone_makes_no_child(filled: Database) -> None:
    with filled.write() as session:
        changed = NewQuestion(text="Why is the sky blue?", category="optics", tags=("light",))
        assert edit_question(session, 1, changed) == (1, False)
    with filled.read() as session:
        row = get_question(session, 1)
    assert (row.category, row.language, row.tags) == ("optics", None, ("light",))


def test_an_edit_into_a_known_question_is_that_question(filled: Database) -> None:
    with filled.write() as session:
        assert edit_question(
            session, 1, NewQuestion(text="富士山の高さは？", role="translator")
        ) == (
            2,
            False,
        )


def test_what_is_not_there_gives_a_sentence(filled: Database) -> None:
    with filled.write() as session:
        with pytest.raises(UsageError, match="no question q99"):
            get_question(session, 99)
        with pytest.raises(UsageError, match="no question q99"):
            edit_question(session, 99, NewQuestion(text="x"))


def test_tags_are_words_put_on_once(filled: Database) -> None:
    with filled.write() as session:
        tag_questions(session, [1, 2], (" light ", "new", "new", " "))
        tag_questions(session, [], ("none",))
        change_details(session, 4, NewQuestion(text="Write a poem."))
    with filled.read() as session:
        assert get_question(session, 1).tags == ("air", "light", "new")
        assert get_question(session, 2).tags == ("light", "new")
        assert len(list(session.scalars(select(Question.id)))) == 4


def test_rows_outlive_their_session(filled: Database) -> None:
    with filled.read() as session:
        rows = list_questions(session, QuestionFilter()).rows
        assert isinstance(session, Session)
    assert rows[0].text == "Write a poem."


def test_a_made_question_is_found(database: Database) -> None:
    with database.write() as session:
        made = make_question(session, "Who?")
        assert question_ids(session, QuestionFilter(search="who")) == [made]
