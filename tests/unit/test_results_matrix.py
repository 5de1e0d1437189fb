"""The results matrix: columns of a design, cells that leave nothing out, totals, files, ratings."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from db.database import Database
from db.errors import UsageError
from db.rating.ratings import active_ratings, ensure_rater
from db.tables import Rating, Sampling, Sweep
from db.texts.design import entries_of, matrix_questions
from db.texts.grades import set_answer_check
from serving.correctness.store import grade_answers
from tests.store_rows import make_answer, make_library, make_question, make_sweep, make_variant
from workbench.matrix.cells import Cell, read_cells
from workbench.matrix.columns import Column, Design, parse_conditions
from workbench.matrix.export import (
    MatrixSource,
    matrix_columns,
    matrix_csv,
    matrix_html,
    matrix_parquet,
    matrix_source,
)
from workbench.matrix.rating import own_ratings, rate_in_place
from workbench.matrix.rows import MatrixQuery, count_levels, matrix_design, matrix_rows
from workbench.matrix.totals import accuracy_change, totals

HOSTILE = "<script>alert(1)</script>=1+1"


@pytest.fixture
def swept(database: Database) -> Database:
    """Six questions, two models × two temperatures, three answers each; the tuned one is better."""
    with database.write() as session:
        make_library(session)
        session.add(Sampling(content_hash="hot", parameters={"temperature": 1.2, "top_p": 0.95}))
        session.flush()
        sweep = make_sweep(session)
        ids = []
        for n in range(6):
            question = make_question(session, f"{n} + 1?", reference_answer=str(n + 1))
            ids.append(question)
            for model in (1, 2):
                for sampling in (1, 2):
                    level = {
                        "model_version_id": model,
                        "sampling_id": sampling,
                        "sweep_id": sweep,
                    }
                    variant = make_variant(session, question, f"You should add {model}.", **level)
                    for i in range(3):
                        right = model == 2 or (i == 0 and sampling == 1)
                        said = ("It is", "I get", "So")[i]
                        text = f"{said} {n + 1 if right else 99}."
                        make_answer(session, question, variant, text, **level)
        session.get_one(Sweep, sweep).plan = {"question_ids": ids}
        set_answer_check(session, ids, "number")
    grade_answers(database, ids)
    return database


def read(
    database: Database, query: MatrixQuery
) -> tuple[Design, list[int], dict[int, dict[Column, Cell]]]:
    with database.read() as session:
        rows = matrix_rows(session, query)
        design = matrix_design(session, query, rows, count_levels(session, query.sweep_ids))
        asked = matrix_questions(session, rows)
        cells = read_cells(session, design, asked, query.sweep_ids, excerpt=200)
    return design, rows, cells


def test_columns_are_the_factors_that_vary_grouped_in_order(swept: Database) -> None:
    design, rows, _ = read(swept, MatrixQuery(sweep_ids=(1,)))
    assert rows == [1, 2, 3, 4, 5, 6]
    # top_k and max_tokens go with the temperature here, and the reasonings with their answers.
    assert design.by == ("model", "temperature")
    assert [column.levels for column in design.columns] == [
        ("small", "0.8"),
        ("small", "1.2"),
        ("tuned", "0.8"),
        ("tuned", "1.2"),
    ]
    other, _, _ = read(swept, MatrixQuery(sweep_ids=(1,), by=("temperature", "model")))
    assert [column.levels for column in other.columns][:2] == [("0.8", "small"), ("0.8", "tuned")]
    assert other.find(other.columns[3].key) == 3


def test_every_text_is_in_a_cell_and_equal_results_are_one_group(swept: Database) -> None:
    design, rows, cells = read(swept, MatrixQuery(sweep_ids=(1,)))
    with swept.read() as session:
        entries = entries_of(session, rows, (1,))
    held = [
        entry
        for by_column in cells.values()
        for cell in by_column.values()
        for group in cell.groups
        for entry in group.entries
    ]
    assert sorted(one.answer_id or 0 for one in held) == sorted(
        one.answer_id or 0 for one in entries
    )
    assert len(held) == 6 * 4 * 3
    tuned = cells[1][design.columns[2]]
    assert [(group.n, group.result, group.correct) for group in tuned.groups] == [(3, "1", True)]
    small = cells[1][design.columns[0]]
    assert [(group.n, group.correct) for group in small.groups] == [(2, False), (1, True)]
    assert (small.n_answers, small.n_reasonings, small.n_correct) == (3, 1, 1)


def test_factors_that_make_no_column_fall_together_and_levels_can_be_left_out(
    swept: Database,
) -> None:
    design, _, cells = read(swept, MatrixQuery(sweep_ids=(1,), by=("model",)))
    assert [column.levels for column in design.columns] == [("small",), ("tuned",)]
    assert cells[1][design.columns[0]].n_answers == 6
    only = parse_conditions(["temperature=1.2", "nonsense"])
    design, _, cells = read(swept, MatrixQuery(sweep_ids=(1,), by=("model",), only=only))
    assert cells[1][design.columns[0]].n_answers == 3


def test_a_reasoning_without_answers_has_its_cell(swept: Database) -> None:
    with swept.write() as session:
        lonely = make_variant(session, 1, "You should wait.", sweep_id=1, model_version_id=2)
    _, _, cells = read(swept, MatrixQuery(sweep_ids=(1,), by=("model",)))
    alone = [group for cell in cells[1].values() for group in cell.groups if group.text is None]
    assert [one.entries[0].variant_id for one in alone] == [lonely]


def test_two_sweeps_stand_side_by_side(swept: Database) -> None:
    with swept.write() as session:
        second = make_sweep(session, "second")
        session.get_one(Sweep, second).plan = {"question_ids": [1, 2]}
        make_answer(session, 1, None, "It is 1.", sweep_id=second, model_version_id=1)
    design, rows, cells = read(swept, MatrixQuery(sweep_ids=(1, second), by=("sweep",)))
    assert len(rows) == 6
    assert [column.levels[0] for column in design.columns] == ["first (1)", "second (2)"]
    assert cells[1][design.columns[1]].n_answers == 1
    assert "sweep" not in read(swept, MatrixQuery())[0].factors
    # What goes with the sweep makes no columns, and is told where two are compared.
    differences = {name: (old, new) for name, old, new in design.differences(*design.columns)}
    assert differences["sweep"] == ("first (1)", "second (2)")
    assert differences["temperature"] == ("0.8, 1.2", "0.8")
    assert differences["model"] == ("small, tuned", "small")


def test_rows_are_narrowed_by_words_tags_and_grades(swept: Database) -> None:
    with swept.read() as session:
        assert matrix_rows(session, MatrixQuery(sweep_ids=(1,), search="3")) == [4]
        assert matrix_rows(session, MatrixQuery(sweep_ids=(1,), tags=("none",))) == []
        assert len(matrix_rows(session, MatrixQuery(sweep_ids=(1,), show="differ"))) == 6
        assert matrix_rows(session, MatrixQuery(sweep_ids=(1,), show="found")) == []
        assert matrix_rows(session, MatrixQuery())[0] == 6  # the newest first


def test_totals_have_intervals_and_changes_are_paired(swept: Database) -> None:
    query = MatrixQuery(sweep_ids=(1,), by=("model",))
    with swept.read() as session:
        counted = count_levels(session, (1,))
        design = matrix_design(session, query, [1], counted)
    small, tuned = totals(counted, design)
    assert small.accuracy is not None
    assert tuned.accuracy is not None
    assert (small.n, small.n_questions, small.n_graded) == (36, 6, 36)
    assert small.accuracy.value == pytest.approx(1 / 6)
    assert tuned.accuracy.value == 1.0
    assert small.accuracy.low is not None
    assert small.accuracy.low < 1 / 6
    change = accuracy_change(counted, design, *design.columns)
    assert change is not None
    assert change.value == pytest.approx(5 / 6)
    few = totals(counted, design, {1})
    assert few[0].n_questions == 1


def test_files_hold_every_text_and_nothing_runs(swept: Database) -> None:
    with swept.write() as session:
        make_answer(session, 1, None, HOSTILE, sweep_id=1)
    query = MatrixQuery(sweep_ids=(1,))
    with swept.read() as session:
        rows = matrix_rows(session, query)
        counted = count_levels(session, (1,))
        design = matrix_design(session, query, rows, counted)
    source = MatrixSource(database=swept, design=design, rows=rows, sweep_ids=(1,))
    lines = list(csv.DictReader(io.StringIO(matrix_csv(source).decode("utf-8-sig"))))
    assert len(lines) == 73
    assert {line["factor_model"] for line in lines} == {"small", "tuned"}
    assert lines[0]["reference_answer"] == "1"
    table = pq.read_table(io.BytesIO(matrix_parquet(source)))
    assert table.num_rows == 73
    assert sum(filter(None, table["correct"].to_pylist())) == 18 + 18 + 6
    written, sums = matrix_source(swept, query)
    assert (written.rows, sums[0].n) == (rows, 19)
    assert list(matrix_columns(design)) == list(lines[0]) == table.column_names
    with pytest.raises(UsageError, match="choose of model, temperature"):
        matrix_source(swept, MatrixQuery(sweep_ids=(1,), by=("rule",)))
    page = matrix_html(source, totals(counted, design), "T", "ja")
    text = page.decode()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    assert text.count("<tr>") >= 7
    assert "<th>モデル</th>" in text
    assert "<th>model</th>" not in text


def test_a_formula_of_a_model_is_a_text_in_spreadsheets(swept: Database) -> None:
    with swept.write() as session:
        make_answer(session, 1, None, "=HYPERLINK(1)", sweep_id=1)
    query = MatrixQuery(sweep_ids=(1,))
    with swept.read() as session:
        design = matrix_design(session, query, [1], count_levels(session, (1,)))
    source = MatrixSource(database=swept, design=design, rows=[1], sweep_ids=(1,))
    assert "'=HYPERLINK(1)" in matrix_csv(source).decode("utf-8-sig")


def test_a_rating_in_place_changes_and_is_taken_back_without_losing_a_fact(
    swept: Database,
) -> None:
    with swept.write() as session:
        aki = ensure_rater(session, "Aki")
    for is_ok, changed in ((True, True), (True, False), (False, True), (None, True), (None, False)):
        with swept.write() as session:
            value = None if is_ok is None else float(is_ok)
            found = rate_in_place(session, aki, answer_id=1, variant_id=None, value=value)
        assert found is changed
        with swept.read() as session:
            own = own_ratings(session, aki, [1])
        assert own == ({} if is_ok is None else {"a1": is_ok})
    with swept.read() as session:
        facts = session.scalars(select(Rating)).all()
        assert len(facts) == 4  # two judgements, two undoings
        assert session.scalars(active_ratings()).all() == []
        assert not any(one.blind for one in facts)
    with swept.write() as session:
        assert rate_in_place(session, aki, answer_id=None, variant_id=1, value=1.0)
        assert not rate_in_place(session, aki, answer_id=None, variant_id=999, value=1.0)


def test_what_the_browser_gets_is_json(swept: Database) -> None:
    from workbench.ui.matrix.data import detail_data, row_data

    design, rows, _ = read(swept, MatrixQuery(sweep_ids=(1,)))
    with swept.read() as session:
        window = list(enumerate(rows))
        shown = row_data(session, design, window, (1,), diff=[0, 2], rater_id=None)
        detail = detail_data(session, design, 1, 2, (1,), None)
        part = detail_data(session, design, 1, 2, (1,), None, most=2)
    assert json.loads(json.dumps(shown)) == shown
    assert (shown[0]["change"], shown[0]["graded"]) == ("better", [[1, 3], [3, 3]])
    assert [cell is None for cell in shown[0]["cells"]] == [False, True, False, True]
    assert ["out", "99"] in shown[0]["diff"]
    assert ["in", "1"] in shown[0]["diff"]
    assert detail is not None
    assert [one["answer"] for one in detail["entries"]] == ["It is 1.", "I get 1.", "So 1."]
    assert detail["ref"] == "1"
    assert part is not None
    assert (len(part["entries"]), part["n"]) == (2, 3)  # the rest is said, and a press away
