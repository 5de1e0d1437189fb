"""Boilerplate across questions: the same flags however the texts are split into commits."""

from itertools import pairwise

import pytest
from sqlalchemy import func, select

from db.database import Database
from db.identity import question_hash, text_hash
from db.tables import CheckFlag, Question, ReasoningVariant, SentenceUse
from serving.checks.store import MIN_QUESTIONS, NewText, note_sentences, store_findings
from serving.checks.text import hashed_sentences

STOCK = "You should double-check the facts available before answering."


def add_variants(database: Database, texts: list[tuple[int, str]]) -> list[NewText]:
    """Store one variant per (question number, text); questions are made as needed."""
    added = []
    with database.write() as session:
        for number, text in texts:
            digest = question_hash(f"Question {number}?")
            if session.get(Question, number) is None:
                session.add(Question(id=number, content_hash=digest, text=f"Question {number}?"))
                session.flush()
            variant = ReasoningVariant(
                question_id=number, text=text, source="imported", content_hash=text_hash(text)
            )
            session.add(variant)
            session.flush()
            added.append(NewText(question_id=number, text=text, variant_id=variant.id))
    return added


def note(database: Database, texts: list[NewText]) -> set[int | None]:
    with database.write() as session:
        found = note_sentences(session, texts)
        store_findings(session, found)
    return {one.variant_id for one in found}


def flagged(database: Database) -> set[int | None]:
    with database.read() as session:
        return set(session.scalars(select(CheckFlag.variant_id)))


def corpus() -> list[tuple[int, str]]:
    """Seven questions; a stock sentence under six, a rare one under four, own ones elsewhere."""
    rows = []
    for number in range(1, 8):
        own = f"You should look at matter number {number} with fresh eyes."
        rows.append((number, own))
        if number <= 6:
            rows.append((number, f"{own} {STOCK}"))
        if number <= 4:
            rows.append((number, f"You should keep rare words rare. {own}"))
    return rows


@pytest.mark.parametrize("commit_size", [1, 2, 3, 7, 100])
def test_the_same_texts_are_flagged_however_commits_split_them(
    database: Database, commit_size: int
) -> None:
    texts = add_variants(database, corpus())
    for start in range(0, len(texts), commit_size):
        note(database, texts[start : start + commit_size])
    assert flagged(database) == {text.variant_id for text in texts if STOCK in text.text}


def test_the_fifth_question_flags_the_earlier_texts_too(database: Database) -> None:
    texts = add_variants(database, [(number, STOCK) for number in range(1, 7)])
    assert note(database, texts[: MIN_QUESTIONS - 1]) == set()
    assert note(database, texts[MIN_QUESTIONS - 1 : MIN_QUESTIONS]) == {1, 2, 3, 4, 5}
    assert note(database, texts[MIN_QUESTIONS:]) == {6}


def test_many_texts_under_one_question_are_no_boilerplate(database: Database) -> None:
    texts = add_variants(database, [(1 + n % 4, STOCK) for n in range(40)])
    for before, after in pairwise(range(0, 41, 10)):
        assert note(database, texts[before:after]) == set()


def test_a_settled_sentence_takes_no_more_rows(database: Database) -> None:
    texts = add_variants(database, [(number, STOCK) for number in range(1, 31)])
    for text in texts:
        note(database, [text])
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(SentenceUse)) == MIN_QUESTIONS
    assert len(flagged(database)) == 30


def test_a_flag_names_the_sentence(database: Database) -> None:
    texts = add_variants(database, [(number, STOCK) for number in range(1, 6)])
    note(database, texts)
    with database.read() as session:
        assert set(session.scalars(select(CheckFlag.detail))) == {STOCK}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("You should check all facts twice.", "you should  check all facts twice"),
        ("You should check “all” facts twice!", "You should check all facts, twice."),
        ("質問をよく読んで考えてください。", "質問をよく読んで考えてください！"),
        ("Ｙｏｕ should check all facts.", "You should check all facts."),
        ("1. You should check all facts.", "You should check all facts."),
        ("请先仔细阅读这个问题。", "请先仔细阅读这个问题"),
    ],
)
def test_case_width_and_punctuation_do_not_make_another_sentence(one: str, other: str) -> None:
    assert hashed_sentences(one).keys() == hashed_sentences(other).keys() != set()


@pytest.mark.parametrize(
    "text",
    [
        "Yes, of course.",
        "はい、そうです。",
        "",
        "...",
        "You should say that you don't know where you are unsure.",
        "You should say so if you are not sure of a fact.",
        "I don't know the answer to that.",
    ],
)
def test_short_sentences_and_admitting_ignorance_are_never_boilerplate(text: str) -> None:
    assert hashed_sentences(text) == {}


def test_hashes_fit_a_signed_64_bit_column_and_do_not_change() -> None:
    (key,) = hashed_sentences(STOCK)
    assert -(2**63) <= key < 2**63
    assert list(hashed_sentences(f"{STOCK} {STOCK}")) == [key]
