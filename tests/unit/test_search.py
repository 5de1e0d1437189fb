"""Search finds words of any language, and nothing that is typed breaks it."""

import string

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from db.database import Database
from db.search import MAX_TERMS, index_texts, search_ids, terms

TEXTS = {
    1: "富士山は日本でいちばん高い山です。",
    2: "東京と大阪はどちらが大きいですか。",
    3: "The quick brown fox, e-mail and GPT4 in Ｆｕｌｌ width.",
    4: "ﾊﾝｶｸのｶﾀｶﾅとハンカク",
    5: "中国的首都是北京。",
    6: "Straße, café and naïve Ελλάδα; Москва.",
    7: "서울은 한국의 수도이다.",
    8: "हिन्दी भाषा and ภาษาไทย",
    9: "GPTが書いた理由",
}


FOUND: list[tuple[str, list[int]]] = [
    ("富士", [1]),
    ("富士山", [1]),
    ("東京", [2]),
    ("北京", [5]),
    ("山", [1]),
    ("山です", [1]),
    ("東京都", []),
    ("京大", []),
    ("東京 大阪", [2]),
    ("大阪　東京", [2]),
    ("東京 富士", []),
    ("quick", [3]),
    ("QUICK brow", [3]),
    ("qui", [3]),
    ("qui brown", []),
    ("full", [3]),
    ("ｇｐｔ４", [3]),
    ("e-mail", [3]),
    ("mail e", [3]),
    ("mail-e", []),
    ("半角", []),
    ("ハンカク", [4]),
    ("ﾊﾝｶｸ", [4]),
    ("カタカナ", [4]),
    ("strasse", [6]),
    ("CAFÉ", [6]),
    ("cafe\u0301", [6]),
    ("москва", [6]),
    ("한국", [7]),
    ("हिन्दी", [8]),
    ("ไทย", [8]),
    ("gptが", [9]),
    ("gpt", [9, 3]),
    ("GPTが書いた", [9]),
    ("", []),
    ("***", []),
    ("。、「」", []),
]
"""What is typed, and the texts that hold it; true of both kinds of database."""


@pytest.fixture
def filled(database: Database) -> Database:
    with database.write() as session:
        index_texts(session, "question", TEXTS.items())
        index_texts(session, "answer", [(1, "富士 answer")])
    return database


@pytest.mark.parametrize(("query", "found"), FOUND)
def test_a_query_finds(filled: Database, query: str, found: list[int]) -> None:
    with filled.read() as session:
        assert search_ids(session, "question", query) == found


def test_newest_first_and_no_more_than_asked_for(database: Database) -> None:
    with database.write() as session:
        index_texts(session, "variant", [(number, "water") for number in range(1, 21)])
    with database.read() as session:
        assert search_ids(session, "variant", "water", limit=3) == [20, 19, 18]


def test_kinds_are_apart(filled: Database) -> None:
    with filled.read() as session:
        assert search_ids(session, "answer", "富士") == [1]
        assert search_ids(session, "variant", "富士") == []


def test_indexing_again_changes_nothing_and_a_changed_text_is_found_by_its_new_words(
    filled: Database,
) -> None:
    with filled.write() as session:
        index_texts(session, "question", TEXTS.items())
        index_texts(session, "question", [(2, "京都")])
    with filled.read() as session:
        assert search_ids(session, "question", "東京") == []
        assert search_ids(session, "question", "京都") == [2]
        assert search_ids(session, "question", "富士") == [1]


SIGNS = ['"', "*", "a*", "NOT a", "a AND", "(", "-a", "a:b", "terms:x", "NEAR(a b)", "'", "\\"]
SIGNS += ["a\x00b", "^a", "+", "{a b}: c", "\ud800", "&", "a <-> b", "!a", "a:*"]


@pytest.mark.parametrize("typed", SIGNS)
def test_signs_of_the_query_language_mean_nothing(filled: Database, typed: str) -> None:
    with filled.read() as session:
        search_ids(session, "question", typed)
        search_ids(session, "question", f"{typed}富{typed} {typed}")


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=20) | st.text(alphabet=string.punctuation + " aé富ー山ｶﾞ4", max_size=20))
def test_whatever_is_typed_never_fails_and_a_text_finds_itself(
    database: Database, typed: str
) -> None:
    with database.read() as session:
        session.begin_nested()
        index_texts(session, "answer", [(7, typed)])
        found = search_ids(session, "answer", typed)
        assert found == ([7] if terms(typed) else [])
        session.rollback()


def test_terms_are_words_and_pairs_and_each_run_ends_with_its_last_character() -> None:
    assert terms("Mt. 富士山 GPT4") == ["mt", "富士", "士山", "山", "gpt4"]


def test_a_text_of_10_megabytes_is_indexed_in_part() -> None:
    assert len(terms("富士山とreasoning。" * 700_000)) == MAX_TERMS


@given(st.text(alphabet=string.printable, max_size=60))
def test_plain_text_has_the_same_terms_as_it_has_among_other_letters(typed: str) -> None:
    assert [*terms(typed), "é"] == terms(f"{typed} é")
