"""Search loses no hit among many, and sees through signs that nobody sees."""

import unicodedata

import pytest

from db.bulk import COUNT_LIMIT
from db.database import Database
from db.identity import text_hash
from db.questions import QuestionFilter, list_questions, question_ids
from db.search import index_texts, search_ids
from db.tables import Answer, Question
from db.texts.lists import TextFilter, list_texts, text_headers

N_TEXTS = COUNT_LIMIT + 50
OLDEST = 3
"""Questions and answers that come before all others and differ from them."""


@pytest.fixture
def many(database: Database) -> Database:
    """Fill a store with more texts of one word than a list counts; the oldest are Japanese."""
    numbers = range(1, N_TEXTS + 1)
    questions = [
        {"id": i, "text": f"water {i}", "content_hash": str(i), "role": "assistant",
         "language": "ja" if i <= OLDEST else "en"}
        for i in numbers
    ]  # fmt: skip
    answers = [
        {"id": i, "question_id": i, "text": f"water {i}", "content_hash": text_hash(str(i)),
         "source": "imported" if i <= OLDEST else "human"}
        for i in numbers
    ]  # fmt: skip
    with database.write() as session:
        session.connection().execute(Question.__table__.insert(), questions)  # type: ignore[attr-defined]
        session.connection().execute(Answer.__table__.insert(), answers)  # type: ignore[attr-defined]
        index_texts(session, "question", [(i, f"water {i}") for i in numbers])
        index_texts(session, "answer", [(i, f"water {i}") for i in numbers])
    return database


def test_other_conditions_are_met_by_hits_beyond_what_a_list_counts(many: Database) -> None:
    oldest = list(range(1, OLDEST + 1))
    with many.read() as session:
        wanted = QuestionFilter(search="water", languages=("ja",))
        assert question_ids(session, wanted) == oldest
        assert [row.id for row in list_questions(session, wanted).rows] == oldest[::-1]
        imported = TextFilter(kind="answer", search="water", sources=("imported",))
        assert [key.id for key in text_headers(session, imported)] == oldest
        assert [row.id for row in list_texts(session, imported).rows] == oldest[::-1]


def test_ids_are_those_of_every_hit(many: Database) -> None:
    with many.read() as session:
        assert len(question_ids(session, QuestionFilter(search="water"))) == N_TEXTS
        assert len(text_headers(session, TextFilter(kind="answer", search="water"))) == N_TEXTS
        assert search_ids(session, "answer", "water")[:2] == [N_TEXTS, N_TEXTS - 1]
        assert len(search_ids(session, "answer", "water")) == N_TEXTS


def test_a_list_by_search_alone_shows_the_newest_and_counts_up_to_its_limit(many: Database) -> None:
    with many.read() as session:
        questions = list_questions(session, QuestionFilter(search="water"), page_size=2)
        answers = list_texts(session, TextFilter(search="water"), page_size=2)
    assert [row.id for row in questions.rows] == [N_TEXTS, N_TEXTS - 1]
    assert [row.id for row in answers.rows] == [N_TEXTS, N_TEXTS - 1]
    assert questions.total == answers.total == COUNT_LIMIT


@pytest.mark.parametrize(
    "sign",
    ["\u00ad", "\u034f", "\u200b", "\u200c", "\u200d", "\u200e", "\u2060", "\ufe0e", "\ufe0f",
     "\ufeff", "\U000e0100", "\U000e01ef"],
)  # fmt: skip
@pytest.mark.parametrize("word", ["known", "葛城", "ส้มตำ", "Москва"])
def test_an_unseen_sign_in_a_text_or_in_what_is_typed_changes_nothing(
    database: Database, word: str, sign: str
) -> None:
    assert unicodedata.category(sign) in ("Cf", "Mn")
    signed = f"{word[:1]}{sign}{word[1:]}{sign}"
    with database.write() as session:
        index_texts(session, "question", [(1, signed), (2, word), (3, "other")])
        assert search_ids(session, "question", word) == [2, 1]
        assert search_ids(session, "question", signed) == [2, 1]
        assert search_ids(session, "question", sign) == []
