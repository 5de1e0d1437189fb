"""Rows into a real store: whole or not at all, and the same file twice adds nothing."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from db.database import Database
from db.errors import UsageError
from db.questions import QuestionFilter, list_questions
from db.search import search_ids
from db.tables import (
    Answer,
    CheckFlag,
    Question,
    QuestionTag,
    ReasoningVariant,
    SentenceUse,
    Tag,
)
from serving.importers import (
    ImportFile,
    ImportRefused,
    ImportSummary,
    import_questions,
    preview,
    read_reasonings,
    read_rows,
    resolve_reasonings,
)
from serving.importers.fields import KEPT, question_line
from serving.importers.readers import stream_rows

FUJI = {
    "instruction": "日本一高い山はどこですか。",
    "flag": "assistant",
    "reasoning": "You should compare the heights of the mountains. You should name 富士山.",
    "output": "富士山です。",
    "language": "ja",
    "category": "geography",
    "tags": "first;mountains",
}
SKY = {"instruction": "Why is the sky blue?", "output": "I don't know.", "id": "sky-1"}


def rows_of(*rows: dict[str, Any], name: str = "q.jsonl") -> ImportFile:
    return read_rows("\n".join(map(json.dumps, rows)).encode(), name=name)


def bring(database: Database, *rows: dict[str, Any], **options: Any) -> ImportSummary:
    return import_questions(database, rows_of(*rows), **options)


def count(database: Database, table: type[Any]) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def everything(database: Database) -> dict[str, int]:
    tables = (Question, QuestionTag, Tag, ReasoningVariant, Answer, CheckFlag, SentenceUse)
    return {table.__tablename__: count(database, table) for table in tables}


def test_rows_become_questions_variants_and_answers(database: Database) -> None:
    done = bring(database, FUJI, SKY)
    assert (done.added, done.updated, done.skipped, done.errors) == (2, 0, 0, 0)
    assert (done.variants, done.answers) == (1, 2)
    with database.read() as session:
        fuji, sky = (session.get_one(Question, number) for number in done.question_ids)
        assert (fuji.text, fuji.language, fuji.source) == (FUJI["instruction"], "ja", "imported")
        assert (sky.external_id, sky.role, sky.context) == ("sky-1", "assistant", "")
        variant = session.scalars(select(ReasoningVariant)).one()
        assert (variant.question_id, variant.source) == (fuji.id, "imported")
        answers = {answer.question_id: answer for answer in session.scalars(select(Answer))}
        assert answers[fuji.id].variant_id == variant.id
        assert answers[sky.id].variant_id is None


def test_the_same_file_twice_adds_nothing(database: Database) -> None:
    rows = [FUJI, SKY, {"instruction": "café?", "reasoning": "You should taste."}]
    bring(database, *rows)
    before = everything(database)
    again = bring(database, *rows)
    assert (again.added, again.updated, again.skipped, again.errors) == (0, 0, 3, 0)
    assert (again.variants, again.answers) == (0, 0)
    assert len(again.question_ids) == 3
    assert everything(database) == before


def test_composed_and_decomposed_letters_are_one_question(database: Database) -> None:
    bring(database, {"text": "caf\u00e9?"})
    assert bring(database, {"text": "  cafe\u0301? "}).skipped == 1


@pytest.mark.parametrize(
    ("other", "added"),
    [
        ({"instruction": "Why?", "input": "now"}, 1),
        ({"instruction": "Why?", "flag": "logician"}, 1),
        ({"instruction": "Why ?"}, 1),
        ({"instruction": "Why?", "category": "x"}, 0),
    ],
)
def test_text_context_and_role_make_a_question(
    database: Database, other: dict[str, str], added: int
) -> None:
    bring(database, {"instruction": "Why?"})
    assert bring(database, other).added == added


@pytest.mark.parametrize(
    "gain",
    [
        {"tags": "new"},
        {"category": "c"},
        {"language": "en"},
        {"reference_answer": "r"},
        {"reasoning": "You should look."},
        {"output": "Because."},
        {"id": "x-1"},
    ],
)
def test_a_known_question_gains_what_it_lacks_once(
    database: Database, gain: dict[str, str]
) -> None:
    bring(database, {"text": "Why?"})
    done = bring(database, {"text": "Why?", **gain})
    assert (done.added, done.updated, done.skipped) == (0, 1, 0)
    again = bring(database, {"text": "Why?", **gain})
    assert (again.added, again.updated, again.skipped) == (0, 0, 1)


def test_a_stored_category_and_reference_answer_are_never_overwritten(database: Database) -> None:
    bring(database, {"text": "Why?", "category": "a", "reference": "r"})
    done = bring(database, {"text": "Why?", "category": "b", "tags": "t"})
    with database.read() as session:
        question = session.get_one(Question, done.question_ids[0])
        assert (question.category, question.reference_answer) == ("a", "r")


def test_another_reference_answer_is_refused_by_line_and_nothing_is_imported(
    database: Database,
) -> None:
    bring(database, {"text": "Why?", "reference": "r"})
    before = everything(database)
    with pytest.raises(
        ImportRefused, match=r"q\.jsonl, line 2, field 'reference_answer': .*known with the refer"
    ):
        bring(database, {"text": "New?"}, {"text": "Why?", "reference": "other"})
    assert everything(database) == before


def test_a_contradiction_inside_one_file_is_refused_too(database: Database) -> None:
    with pytest.raises(ImportRefused, match="line 2"):
        bring(database, {"text": "Why?", "reference": "a"}, {"text": "Why?", "reference": "b"})


def test_held_out_is_fixed_when_a_question_comes_in(database: Database) -> None:
    done = bring(database, {"text": "Why?", "held_out": True})
    with database.read() as session:
        assert session.get_one(Question, done.question_ids[0]).held_out is True
    assert bring(database, {"text": "Why?", "held_out": True}).skipped == 1
    with pytest.raises(ImportRefused, match="field 'held_out'"):
        bring(database, {"text": "Why?", "held_out": False})


def test_a_bad_row_stops_everything_unless_bad_rows_are_skipped(database: Database) -> None:
    rows = [{"text": "Why?"}, {"text": "How?", "flag": "poet"}, {"text": ""}]
    with pytest.raises(ImportRefused) as refusal:
        bring(database, *rows)
    assert len(refusal.value.problems) == 2
    assert "Nothing was imported" in str(refusal.value)
    assert count(database, Question) == 0
    done = bring(database, *rows, skip_errors=True)
    assert (done.added, done.errors, len(done.problems)) == (1, 2, 2)


def test_a_problem_of_the_whole_file_cannot_be_skipped(database: Database) -> None:
    result = read_rows(b"text,Text\na,b\n", name="q.csv")
    with pytest.raises(ImportRefused, match="two columns"):
        import_questions(database, result, skip_errors=True)


def test_rows_of_one_question_are_joined(database: Database) -> None:
    done = bring(
        database,
        {"text": "Why?", "reasoning": "You should look up.", "output": "Air.", "tags": "a"},
        {"text": "Why?", "reasoning": "You should look up.", "output": "Light.", "tags": "a"},
        {"text": "Why?", "reasoning": "You should look down.", "output": "Air.", "tags": "b"},
        {"text": "Why?", "reasoning": "You should look up.", "output": "Air."},
        {"text": "Why?", "output": "Air."},
    )
    assert (done.added, done.updated, done.skipped) == (1, 3, 1)
    assert (done.variants, done.answers, len(done.question_ids)) == (2, 4, 1)


def test_the_counts_cover_every_row(database: Database) -> None:
    bring(database, {"text": "Known?"})
    rows = [{"text": "Known?"}, {"text": "New?"}, {"text": "New?", "tags": "t"}, {"text": ""}]
    done = bring(database, *rows, skip_errors=True)
    assert (done.added, done.updated, done.skipped, done.errors) == (1, 1, 1, 1)


def test_extra_tags_are_put_on_every_question(database: Database) -> None:
    bring(database, {"text": "Known?"})
    done = bring(database, {"text": "Known?"}, {"text": "New?"}, extra_tags=["batch-7"])
    assert (done.added, done.updated) == (1, 1)
    assert count(database, QuestionTag) == 2


def test_the_bundled_examples_can_be_told_apart(database: Database) -> None:
    done = bring(database, {"text": "Why?"}, source="example")
    with database.read() as session:
        assert session.get_one(Question, done.question_ids[0]).source == "example"


def test_imported_texts_are_checked(database: Database) -> None:
    bring(database, FUJI, SKY)
    with database.read() as session:
        on_variants = set(session.scalars(select(CheckFlag.name).where(CheckFlag.variant_id > 0)))
        on_answers = set(session.scalars(select(CheckFlag.name).where(CheckFlag.answer_id > 0)))
    assert on_variants == {"answer_leak"}
    assert on_answers == {"answer_leak", "dont_know"}


def test_boilerplate_is_found_across_imports(database: Database) -> None:
    stock = "You should double-check the facts available before answering."
    bring(database, *({"text": f"Q{n}?", "reasoning": stock} for n in range(4)))
    assert count(database, CheckFlag) == 0
    bring(database, {"text": "Q4?", "reasoning": stock})
    assert count(database, CheckFlag) == 5


def test_imported_texts_can_be_found_at_once(database: Database) -> None:
    done = bring(database, {**FUJI, "input": "地図を見て"}, SKY)
    with database.read() as session:
        assert search_ids(session, "question", "高い") == [done.question_ids[0]]
        assert search_ids(session, "question", "地図") == [done.question_ids[0]]
        assert len(search_ids(session, "variant", "富士")) == 1
        assert len(search_ids(session, "answer", "know")) == 1


def test_a_preview_tells_what_the_import_then_does(database: Database) -> None:
    bring(database, SKY)
    rows = [FUJI, SKY, {**SKY, "tags": "t"}, {"text": "How?", "flag": "poet"}]
    before = everything(database)
    shown = preview(database, rows_of(*rows), n_sample=2)
    assert everything(database) == before
    assert [outcome for _, outcome in shown.sample] == ["added", "skipped"]
    done = bring(database, *rows, skip_errors=True)
    assert (shown.added, shown.updated, shown.skipped, shown.errors) == (
        done.added,
        done.updated,
        done.skipped,
        done.errors,
    )


def test_thousands_of_questions_come_in_at_once(database: Database) -> None:
    data = "\n".join(
        json.dumps({"text": f"質問 {n}: なぜ空は青いのですか。", "tags": "big", "id": n})
        for n in range(5_000)
    ).encode()
    done = import_questions(database, read_rows(data, name="big.jsonl"))
    assert done.added == 5_000


def reasonings_file(*rows: dict[str, Any]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def test_reasonings_name_their_question_by_number_text_or_id(database: Database) -> None:
    fuji, sky = bring(database, FUJI, SKY).question_ids
    data = reasonings_file(
        {"question_id": f"q{fuji}", "reasoning": "You should a."},
        {"question_id": sky, "reasoning": "You should b."},
        {"instruction": FUJI["instruction"], "reasoning": "You should c."},
        {"id": "sky-1", "reasoning": "You should d."},
    )
    with database.read() as session:
        found = resolve_reasonings(session, read_reasonings(data, name="r.jsonl"))
    assert found == [
        (fuji, "You should a."),
        (sky, "You should b."),
        (fuji, "You should c."),
        (sky, "You should d."),
    ]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"question_id": "first", "reasoning": "r"}, "field 'question_id': 'first' is no id"),
        ({"reasoning": "r"}, "names no question"),
        ({"question_id": 1, "reasoning": ""}, "field 'reasoning': is empty"),
        ({"instruction": "q", "flag": "poet", "reasoning": "r"}, "field 'flag': unknown role"),
    ],
)
def test_a_reasoning_that_cannot_be_placed_is_refused(row: dict[str, Any], sentence: str) -> None:
    data = reasonings_file({"question_id": 1, "reasoning": "ok", "id": "", "instruction": ""}, row)
    with pytest.raises(UsageError, match=r"r\.jsonl, line 2[,:]") as refusal:
        read_reasonings(data, name="r.jsonl")
    assert sentence in str(refusal.value)


def test_a_file_without_reasonings_is_refused() -> None:
    with pytest.raises(UsageError, match="no column 'reasoning'; found instruction"):
        read_reasonings(b'{"instruction": "q"}', name="r.jsonl")


def test_reasonings_of_unknown_questions_are_refused_by_line(database: Database) -> None:
    found = read_reasonings(reasonings_file({"question_id": 7, "reasoning": "r"}), name="r.jsonl")
    with database.read() as session, pytest.raises(UsageError, match=r"not in the store \(lines 1"):
        resolve_reasonings(session, found)


def test_columns_that_mean_nothing_are_kept_and_come_out_again(database: Database) -> None:
    row = {"question": "What is tea?", "difficulty": 3, "origin": {"book": "茶経"}, "note": ""}
    given = json.dumps(row).encode()
    import_questions(database, read_rows(given, name="tea.jsonl"))
    with database.read() as session:
        (found,) = list_questions(session, QuestionFilter()).rows
    assert found.fields == {"difficulty": 3, "origin": {"book": "茶経"}}
    line = question_line(found)
    assert json.loads(line)["difficulty"] == 3
    again = import_questions(database, read_rows(line.encode(), name="again.jsonl"))
    assert (again.added, again.updated, again.skipped) == (0, 0, 1)


def test_a_known_question_gains_fields_once_and_columns_may_be_renamed(database: Database) -> None:
    import_questions(database, read_rows(b'{"question": "What is tea?"}', name="a.jsonl"))
    rows = b"what,gold,text\nWhat is tea?,a drink,unit 1\n"
    file = stream_rows(
        rows, name="b.csv", renamed={"what": "text", "gold": "reference_answer", "text": KEPT}
    )
    done = import_questions(database, file)
    assert (done.added, done.updated) == (0, 1)
    with database.read() as session:
        (found,) = list_questions(session, QuestionFilter()).rows
    assert (found.reference_answer, found.fields) == ("a drink", {"text": "unit 1"})
