"""Every bundled example loads, is what the README says it is, and comes in without a finding."""

import json
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db.database import Database
from db.tables import CheckFlag, Question
from db.tables.library import ROLES
from serving.checks import CheckContext, check_answer, check_reasoning
from serving.checks.language import detect_language
from serving.importers import ImportFile, import_questions, read_reasonings, read_rows
from serving.sweeps.spec import load_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
QUESTION_FILES = sorted((EXAMPLES / "questions").glob("*.jsonl"))
SPECS = sorted((EXAMPLES / "sweeps").glob("*.yaml"))
REASONED = EXAMPLES / "questions" / "with_reasoning.jsonl"


def read(path: Path) -> ImportFile:
    result = read_rows(path)
    assert result.problems == []
    assert result.notes == []
    return result


def without_reasoning() -> list[ImportFile]:
    return [read(path) for path in QUESTION_FILES if path != REASONED]


@pytest.mark.parametrize("path", [*QUESTION_FILES, *SPECS], ids=lambda path: path.name)
def test_every_file_is_utf8_with_unix_line_ends(path: Path) -> None:
    data = path.read_bytes()
    assert data.decode("utf-8").endswith("\n")
    assert b"\r" not in data
    assert not data.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("path", QUESTION_FILES, ids=lambda path: path.name)
def test_a_question_file_holds_one_object_a_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert len(read(path).rows) == len(lines)


def test_there_are_sixty_questions_in_three_languages_and_four_roles() -> None:
    rows = [row for result in without_reasoning() for row in result.rows]
    assert len(rows) >= 60
    languages = Counter(row.language for row in rows)
    assert languages["en"] >= 30
    assert languages["ja"] >= 22
    assert languages["zh"] >= 10
    for language in ("en", "ja", "zh"):
        assert {row.role for row in rows if row.language == language} == set(ROLES)
    assert all(row.category for row in rows)


def test_some_questions_have_a_context_some_a_reference_answer_and_some_no_answer() -> None:
    rows = [row for result in without_reasoning() for row in result.rows]
    assert sum(1 for row in rows if row.context) >= 12
    assert sum(1 for row in rows if row.reference_answer) >= 15
    assert sum(1 for row in rows if "unanswerable" in row.tags) >= 5
    assert sum(1 for row in rows if row.context and row.reference_answer) >= 3


def test_the_starter_set_has_eight_questions_of_all_languages() -> None:
    first = [row for result in without_reasoning() for row in result.rows if "first" in row.tags]
    assert len(first) == 8
    assert {row.language for row in first} == {"en", "ja", "zh"}
    assert {"assistant", "creator", "logician"} <= {row.role for row in first}


def test_no_question_and_no_id_comes_twice() -> None:
    rows = [row for path in QUESTION_FILES for row in read(path).rows]
    assert len({(row.text, row.context, row.role) for row in rows}) == len(rows)
    assert len({row.external_id for row in rows}) == len(rows)


def test_questions_are_in_the_language_they_name() -> None:
    for path in QUESTION_FILES:
        for row in read(path).rows:
            assert detect_language(row.text) in (row.language, None), row.text


def test_the_reasoned_rows_have_the_alpaca_keys_and_no_finding() -> None:
    keys = {"instruction", "input", "output", "reasoning", "flag", "category", "language"}
    lines = REASONED.read_text(encoding="utf-8").splitlines()
    assert all(keys <= set(json.loads(line)) for line in lines)
    rows = read(REASONED).rows
    assert len(rows) >= 12
    assert {row.role for row in rows} == set(ROLES)
    for row in rows:
        assert row.reasoning
        assert row.output
        ctx = CheckContext(
            question=row.text,
            context=row.context,
            role=row.role,
            language=row.language,
            answer=row.output,
        )
        assert check_reasoning(row.reasoning, ctx) == [], row.external_id
        answer = {finding.name for finding in check_answer(row.output, ctx, row.reasoning)}
        assert answer == ({"dont_know"} if row.category == "unknowable" else set())


def test_the_examples_come_in_whole_and_the_second_time_add_nothing(database: Database) -> None:
    results = [read(path) for path in QUESTION_FILES]
    n_rows = sum(len(result.rows) for result in results)
    first = [import_questions(database, result, source="example") for result in results]
    again = [import_questions(database, result, source="example") for result in results]
    with database.read() as session:
        flags = list(session.scalars(select(CheckFlag.name)))
        n_questions = session.scalar(select(func.count()).select_from(Question))
    assert sum(done.added for done in first) == n_rows == n_questions
    assert sum(done.skipped for done in again) == n_rows
    assert flags == ["dont_know"]


def test_the_supplied_reasonings_can_be_read_for_a_sweep() -> None:
    assert len(read_reasonings(REASONED)) == len(read(REASONED).rows)


def test_the_three_sweep_specs_load_and_name_files_that_exist() -> None:
    specs = {path.stem: load_spec(path) for path in SPECS}
    assert set(specs) == {"first", "roles_and_formats", "supplied"}
    first = specs["first"]
    assert (first.variants, first.answers, first.questions.tags) == (3, 1, ("first",))
    assert [level.max_tokens for level in first.reasoning_sampling] == [128]
    assert [level.max_tokens for level in first.answer_sampling] == [96]
    crossed = specs["roles_and_formats"]
    assert min(map(len, (crossed.formats, crossed.roles, crossed.reasoning_sampling))) >= 2
    supplied = specs["supplied"]
    assert supplied.reasonings is not None
    assert supplied.reasonings.file == supplied.questions.file == REASONED.resolve()
