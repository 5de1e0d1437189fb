"""Files as spreadsheets and other programs write them, and questions that go out and in again."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from db.database import Database, open_database
from db.errors import UsageError
from db.questions import (
    NewQuestion,
    QuestionFilter,
    QuestionRow,
    add_question,
    edit_question,
    get_question,
    list_questions,
)
from db.store.migrate import upgrade
from db.tables import CheckFlag, Question
from serving.importers import (
    ImportRefused,
    ImportSummary,
    import_questions,
    read_reasonings,
    read_rows,
    resolve_reasonings,
)
from tests.unit.test_import_readers import read, sentences, texts, workbook
from workbench.cli.exporting import question_lines
from workbench.ui.questions.list import as_jsonl

HALF = "half \ud83d"


def bring(database: Database, *rows: dict[str, Any]) -> ImportSummary:
    data = "\n".join(map(json.dumps, rows)).encode()
    return import_questions(database, read_rows(data, name="q.jsonl"))


def stored(database: Database) -> list[QuestionRow]:
    with database.read() as session:
        return list(list_questions(session, QuestionFilter(), page_size=100).rows)


def leaks(database: Database) -> tuple[int, int]:
    """Return how many reasonings and how many answers are flagged as leaks."""
    with database.read() as session:
        found = session.scalars(select(CheckFlag).where(CheckFlag.name == "answer_leak")).all()
    return sum(flag.variant_id is not None for flag in found), sum(
        flag.answer_id is not None for flag in found
    )


# Tables


def test_two_equal_headers_of_an_unrelated_sheet_are_no_problem() -> None:
    result = read("q.xlsx", workbook([["note", "note"], ["a", "b"]], [["text"], ["why?"]]))
    assert (texts(result), result.problems) == (["why?"], [])


def test_two_equal_headers_of_the_sheet_that_is_read_are_refused() -> None:
    result = read("q.xlsx", workbook([["note"], ["a"]], [["text", "Text"], ["why?", "how?"]]))
    assert sentences(result) == [
        "q.xlsx, field 'Text': two columns have this name; rename one.",
    ]


def test_two_equal_headers_that_nothing_reads_are_no_problem() -> None:
    result = read("q.csv", "text,note,note\nwhy?,a,b\n")
    assert (texts(result), result.problems) == (["why?"], [])
    assert result.notes == ["Kept as fields of the questions: note."]


def parquet_of(*names: str) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table([["why?"] for _ in names], names=list(names)), stream)
    return stream.getvalue()


def test_two_equal_columns_of_a_parquet_file_are_refused_where_they_are_read() -> None:
    assert sentences(read("q.parquet", parquet_of("text", "text"))) == [
        "q.parquet, field 'text': two columns have this name; rename one.",
    ]
    assert read("q.parquet", parquet_of("text", "note", "note")).problems == []


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_line_that_names_the_separator_is_obeyed(line: str, end: str, encoding: str) -> None:
    result = read("q.csv", end.join([line, "text;id", "why, when;7", ";8", ""]), encoding)
    assert texts(result) == ["why, when"]
    assert result.rows[0].external_id == "7"
    assert sentences(result)[0].startswith("q.csv, line 4, field 'text': the question is empty")


def test_a_separator_of_tabs_may_be_named_too() -> None:
    assert texts(read("q.csv", "sep=\t\ntext\tid\na,b;c\t1\n")) == ["a,b;c"]


# Values


@pytest.mark.parametrize(
    ("given", "kept"),
    [("EN", "en"), ("Ja", "ja"), ("ZH-Hant", "zh-Hant"), ("pt-BR", "pt-BR"), (" en ", "en")],
)
def test_the_case_of_a_language_does_not_matter(given: str, kept: str) -> None:
    result = read("q.jsonl", json.dumps({"text": "why?", "language": given}))
    assert result.rows[0].language == kept


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("column", ["text", "reference", "id", "tags"])
def test_a_number_without_end_is_refused(number: str, column: str) -> None:
    question = "" if column == "text" else '"text": "why?", '
    row = f'{question}"{column}": {number}'
    (sentence,) = sentences(read("q.jsonl", f"{{{row}}}"))
    assert sentence == (
        f"q.jsonl, line 1, field '{column}': holds a number without end; write it as a text in"
        " quotes."
    )


def test_a_number_of_hundreds_of_digits_is_a_text_and_one_of_thousands_is_refused() -> None:
    digits = "7" * 400
    assert texts(read("q.jsonl", '{"text": ' + digits + "}")) == [digits]
    for name, start, end in (("q.jsonl", '{"text": ', "}"), ("q.json", '[{"text": ', "}]")):
        (sentence,) = sentences(read(name, start + "7" * 5_000 + end))
        assert "a number of thousands of digits, which must be a text in quotes" in sentence
        assert "set_int_max_str_digits" not in sentence


# Reasonings


def given(value: str) -> bytes:
    return b'{"question_id": %s, "instruction": "", "reasoning": "r"}' % value.encode()


@pytest.mark.parametrize("value", ["12.0", '"12.0"', '"q12"', '"Q12"', '" 12 "', "12"])
def test_an_id_is_read_as_spreadsheets_write_it(value: str) -> None:
    (found,) = read_reasonings(given(value), name="r.jsonl")
    assert (found.column, found.value) == ("id", 12)


@pytest.mark.parametrize("value", ["9" * 30, '"%s"' % ("9" * 30), "12.5", "Infinity", "-1", "true"])
def test_what_can_be_no_id_is_refused_in_a_sentence(value: str) -> None:
    with pytest.raises(UsageError, match=r"field 'question_id': '.*' is no id; write 12 or q12"):
        read_reasonings(given(value), name="r.jsonl")


def test_an_id_that_is_no_number_counts_as_empty() -> None:
    with pytest.raises(UsageError, match="names no question"):
        read_reasonings(given("NaN"), name="r.jsonl")


@pytest.mark.parametrize("value", ["0", "9" * 18])
def test_an_id_beyond_the_store_is_said_not_to_be_there(database: Database, value: str) -> None:
    found = read_reasonings(given(value), name="r.jsonl")
    with database.read() as session, pytest.raises(UsageError, match="not in the store"):
        resolve_reasonings(session, found)


def test_two_columns_of_ids_are_refused() -> None:
    with pytest.raises(UsageError, match="field 'question_id': two columns have this name"):
        read_reasonings(b"question_id,question_id,reasoning\n1,2,r\n", name="r.csv")


# Answers under known reasonings

FUJI = {"instruction": "日本一高い山はどこですか。", "reasoning": "You should name 富士山 first."}


def test_an_answer_that_comes_later_is_compared_with_its_reasoning(database: Database) -> None:
    bring(database, FUJI)
    assert leaks(database) == (0, 0)
    bring(database, {**FUJI, "output": "富士山です。"})
    assert leaks(database) == (1, 1)


def test_every_answer_of_a_file_is_compared_with_its_reasoning(database: Database) -> None:
    bring(database, {**FUJI, "output": "わかりません。"}, {**FUJI, "output": "富士山です。"})
    assert leaks(database) == (1, 1)


def test_an_answer_that_the_reasoning_does_not_hold_flags_nothing(database: Database) -> None:
    bring(database, FUJI)
    bring(database, {**FUJI, "output": "北岳です。"}, {"instruction": "Why?", "output": "富士山"})
    assert leaks(database) == (0, 0)


# Held out


def test_not_held_out_is_the_same_as_nothing_said(database: Database) -> None:
    bring(database, {"text": "Why?"})
    assert bring(database, {"text": "Why?", "held_out": False}).skipped == 1
    with pytest.raises(ImportRefused, match="field 'held_out'"):
        bring(database, {"text": "Why?", "held_out": True})


# Out and in again


@pytest.fixture
def filled(database: Database) -> Database:
    """Fill a store with questions of every kind, some of them from a page."""
    bring(
        database,
        {"text": "One?", "id": "mine-1", "held_out": True, "tags": ["a;b", "c"]},
        {"text": "Two?", "held_out": False, "language": "zh-Hant", "reference": "r"},
        {"text": "Three?", "input": "context", "flag": "logician", "category": "physics"},
    )
    with database.write() as session:
        add_question(session, NewQuestion(text=" Four\x0b\r\nor\ufeff five? ", tags=("t",)))
        edit_question(session, 1, NewQuestion(text="One, edited?"))
    return database


def out_by_command(database: Database) -> bytes:
    return "".join(f"{line}\n" for line in question_lines(database, QuestionFilter())).encode()


def out_by_page(database: Database) -> bytes:
    return as_jsonl(reversed(stored(database)))


@pytest.mark.parametrize("out", [out_by_command, out_by_page])
def test_an_export_changes_nothing_where_it_came_from(filled: Database, out: Any) -> None:
    before = stored(filled)
    done = import_questions(filled, read_rows(out(filled), name="q.jsonl"))
    assert (done.skipped, done.added, done.updated) == (5, 0, 0)
    assert stored(filled) == before


@pytest.mark.parametrize("out", [out_by_command, out_by_page])
def test_an_export_fills_an_empty_store_with_the_same(
    filled: Database, tmp_path: Path, out: Any
) -> None:
    other = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    upgrade(other)
    import_questions(other, read_rows(out(filled), name="q.jsonl"))
    names = ("text", "context", "role", "reference_answer", "category", "language", "tags",
             "external_id", "held_out")  # fmt: skip
    told = [[getattr(row, name) for name in names] for row in stored(filled)]
    assert [[getattr(row, name) for name in names] for row in stored(other)] == told
    assert out(other) == out(filled)
    assert {row.held_out for row in stored(other)} == {True, False, None}
    other.close()


def test_page_and_command_write_the_same(filled: Database) -> None:
    assert out_by_page(filled) == out_by_command(filled)
    assert '"id"' not in out_by_command(filled).decode()


# Questions from a page


@pytest.mark.parametrize(
    ("new", "name"),
    [
        (NewQuestion(text=HALF), "question"),
        (NewQuestion(text="Why?", context=HALF), "context"),
        (NewQuestion(text="Why?", reference_answer=HALF), "reference answer"),
        (NewQuestion(text="Why?", category=HALF), "category"),
        (NewQuestion(text="Why?", tags=("fine", HALF)), "tag"),
    ],
)
def test_half_a_character_is_refused(database: Database, new: NewQuestion, name: str) -> None:
    sentence = rf"The {name} holds half a character \(\\ud83d\); write it in full or remove it\."
    with database.write() as session:
        known, _ = add_question(session, NewQuestion(text="Known?"))
        with pytest.raises(UsageError, match=sentence):
            add_question(session, new)
        with pytest.raises(UsageError, match=sentence):
            edit_question(session, known, new)


def test_an_edit_into_a_known_question_gives_it_what_it_lacks(database: Database) -> None:
    with database.write() as session:
        first, _ = add_question(session, NewQuestion(text="Why?", category="old"))
        known, _ = add_question(
            session, NewQuestion(text="Why not?", language="en", category="own", tags=("kept",))
        )
        session.get_one(Question, first).held_out = True
        edited = NewQuestion(
            text="Why not?",
            reference_answer="Because.",
            category="other",
            language="ja",
            tags=("new", "kept"),
        )
        assert edit_question(session, first, edited) == (known, False)
    with database.read() as session:
        row = get_question(session, known)
    assert row.tags == ("kept", "new")
    assert (row.reference_answer, row.category, row.language) == ("Because.", "own", "en")
    assert (row.parent_id, row.held_out) == (None, None)


def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="is no file but a pipe or a device"):
        read_rows(pipe)
