"""Tags and notes that raters left, found again: in Explore, in the matrix, in files."""

import json

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite
from typer.testing import CliRunner

from db.database import Database
from db.questions import QuestionFilter, question_ids
from db.rating.remarks import has_notes, known_tags, remarked, said
from db.tables import Rating
from db.texts.lists import TextFilter, list_texts
from db.texts.matrix import MatrixFilter, matrix
from tests.unit.rating_lab import leave_remarks
from workbench.cli.main import app
from workbench.matrix.export import matrix_records, matrix_source
from workbench.matrix.rows import MatrixQuery, matrix_rows


@pytest.fixture
def filled(database: Database) -> Database:
    leave_remarks(database)
    return database


def refs(database: Database, **wanted: object) -> list[str]:
    with database.read() as session:
        page = list_texts(session, TextFilter(**wanted), page_size=50)  # type: ignore[arg-type]
        return sorted(f"{row.kind[0]}{row.id}" for row in page.rows)


def test_a_tag_of_a_pair_is_found_at_both_texts_and_what_was_undone_or_a_models_is_not(
    filled: Database,
) -> None:
    assert refs(filled, rater_tags=("vague",)) == ["v1", "v2"]
    assert refs(filled, is_noted=True) == ["a3", "v1", "v2"]
    assert refs(filled, is_noted=True, rater_tags=("vague", "broad"), kind="variant") == [
        "v1",
        "v2",
    ]
    assert refs(filled, rater_tags=("gone",)) == []
    with filled.read() as session:
        assert known_tags(session) == {"vague": 2, "broad": 1}
        assert has_notes(session)


def test_a_tag_of_a_question_finds_its_texts(filled: Database) -> None:
    found = refs(filled, rater_tags=("broad",))
    assert found == ["a5", "a6", "a7", "a8", "v3", "v4"]
    with filled.read() as session:
        assert question_ids(session, QuestionFilter(rater_tags=("broad",))) == [2]
        assert question_ids(session, QuestionFilter(rater_tags=("vague",))) == [1]
        assert question_ids(session, QuestionFilter(is_noted=True)) == [1]


def test_cells_tell_what_was_left_on_them_and_on_the_answers_under_them(filled: Database) -> None:
    with filled.read() as session:
        (row,) = matrix(session, MatrixFilter(is_noted=True)).rows
    left = {cell.ref: cell.remarks for cell in row.cells}
    assert left["v1"] is not None
    assert (left["v1"].tags, left["v1"].notes) == (("vague",), ("both guess",))
    assert left["v2"] is not None
    assert set(left["v2"].notes) == {"both guess", "cites nobody"}
    with filled.read() as session:
        (row,) = matrix(session, MatrixFilter(rater_tags=("broad",))).rows
    assert [cell.remarks for cell in row.cells] == [None, None]


def test_the_matrix_narrows_to_them_and_its_files_hold_them(filled: Database) -> None:
    query = MatrixQuery(rater_tags=("vague",))
    with filled.read() as session:
        assert matrix_rows(session, query) == [1]
        assert matrix_rows(session, MatrixQuery(is_noted=True, rater_tags=("broad",))) == []
    source, _ = matrix_source(filled, query)
    said = {one["answer_id"]: one["rater_notes"] for one in matrix_records(source)}
    tags = {one["rater_tags"] for one in matrix_records(source)}
    assert said == {
        1: "both guess",
        2: "both guess",
        3: "cites nobody\nboth guess",
        4: "both guess",
    }
    assert tags == {"vague"}


def test_exports_of_ratings_narrow_to_cards_with_a_tag_or_a_note(filled: Database) -> None:
    def exported(*words: str) -> list[str]:
        done = CliRunner().invoke(app, ["rate", "export", *words])
        assert done.exit_code == 0, done.output + done.stderr
        return [json.loads(line)["card_id"] for line in done.stdout.splitlines()]

    assert exported("--tag", "vague") == ["p", "p/1", "p/2"]
    assert exported("--noted") == ["p", "p/1", "p/2", "t"]
    assert exported("--tag", "broad", "--tag", "vague", "--noted") == ["p", "p/1", "p/2"]
    assert len(exported()) == 6


def test_tags_and_notes_are_looked_up_by_their_own_indexes(filled: Database) -> None:
    for wanted, index in zip(
        remarked(["vague"], is_noted=True), ("ix_rating_tags", "ix_rating_notes"), strict=True
    ):
        query = said(Rating.variant_id, wanted.condition).compile(
            dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
        )
        with filled.read() as session:
            plan = session.execute(text(f"EXPLAIN QUERY PLAN {query}")).all()
            rows = [one.detail for one in plan if "rating" in one.detail]
        assert sum(index in one for one in rows) == 1, rows


def test_nothing_was_left_in_a_store_without_ratings(database: Database) -> None:
    with database.read() as session:
        assert not has_notes(session)
        assert known_tags(session) == {}
