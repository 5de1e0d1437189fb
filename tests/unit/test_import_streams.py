"""Files are read piece by piece: what is at hand is small, and nothing depends on the pieces."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.importers import documents
from serving.importers.documents import JsonCursor
from serving.importers.readers import read_records, stream_rows
from tests.unit.test_import_readers import read as read_all
from tests.unit.test_import_readers import sentences, texts, workbook

N_ROWS = 20_000


def large(kind: str) -> bytes:
    rows = [{"text": f"Why is number {number} odd?", "id": str(number)} for number in range(N_ROWS)]
    if kind == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    if kind == "json":
        return json.dumps(rows).encode()
    if kind == "csv":
        return "\n".join(["text,id", *(",".join(row.values()) for row in rows)]).encode()
    if kind == "xlsx":
        return workbook([["text", "id"], *(list(row.values()) for row in rows[:2000])])
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "xlsx"])
def test_the_first_records_come_before_the_file_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"q.{kind}"
    path.write_bytes(large(kind))
    reader = read_records(path)
    next(reader.records)
    early = reader.done
    n_rows = 1 + sum(1 for _ in reader.records)
    assert early < reader.done / 2
    assert n_rows == (2000 if kind == "xlsx" else N_ROWS)
    assert reader.columns == ["text", "id"]


def test_a_list_of_objects_is_never_held_whole() -> None:
    reader = read_records(large("json"), name="q.json")
    next(reader.records)
    assert sum(1 for _ in reader.records) == N_ROWS - 1


def test_problems_and_notes_are_complete_when_all_rows_were_taken() -> None:
    file = stream_rows(b'{"text": "a", "colour": 1}\n{"text": \n{"text": "b"}\n', name="q.jsonl")
    rows = iter(file.rows)
    assert next(rows).text == "a"
    assert [row.text for row in rows] == ["b"]
    assert [problem.line for problem in file.problems] == [2]
    assert file.notes == ["Kept as fields of the questions: colour."]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=5), st.integers(1, 40), st.sampled_from([None, 1]))
def test_the_size_of_the_pieces_changes_nothing(
    values: list[Any], n_chars: int, indent: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_CHUNK_CHARS", n_chars)
        patch.setattr(documents, "_NEAR_END", 32)
        cursor = JsonCursor(io.StringIO(json.dumps(values, indent=indent)))
        assert [value for value, _ in cursor.items()] == values
        cursor.end()


@pytest.mark.parametrize("before", [0, 3, 80_000])
def test_a_fault_in_a_list_is_named_by_its_line_and_column(before: int) -> None:
    good = "".join('{"text": "a"},\n' for _ in range(before))
    (sentence,) = sentences(read_all("q.json", f'[\n{good}{{"text": "a", }}\n]'))
    assert f"line {before + 2}; correct it there" in sentence
    assert "column 14" in sentence or "column 15" in sentence


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('{"version": {"data": 1}, "data": [{"text": "a"}, {"text": "b"}], "n": 2}', ["a", "b"]),
        ('{"text": "a", "data": "x"}', ["a"]),
        ('{"text": "a"}\n\n{"text": "b"}\n', ["a", "b"]),
        ('{"data": [1], "text": "a"}\n{"data": [2], "text": "b"}', ["a", "b"]),
    ],
)
def test_objects_lists_and_lines_are_told_apart(content: str, rows: list[str]) -> None:
    assert texts(read_all("q.json", content)) == rows


@pytest.mark.parametrize("content", ['[{"text": "a"}] 7', '{"data":\n[{"text": "a"}]} 7'])
def test_what_follows_a_list_refuses_the_file(content: str) -> None:
    assert "Extra data" in sentences(read_all("q.json", content))[0]


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("q.jsonl", '{"text": "a"}\n{"text": "b", "id": 1, "text": "c"}', "q.jsonl, line 2"),
        ("q.jsonl", '{"text": "a"}\n{"text": "b", "x": {"text": 1, "text": 2}}', "q.jsonl, line 2"),
        ("q.json", '[{"text": "a"}, {"text": "b", "text": "c"}]', "q.json, item 2, field 'text'"),
        ("q.json", '{"text": "b",\n "text": "c"}', "q.json, item 1, field 'text'"),
    ],
)
def test_a_key_that_an_object_has_twice_is_refused(name: str, content: str, place: str) -> None:
    (sentence,) = sentences(read_all(name, content))
    assert sentence.startswith(place)
    assert "'text'" in sentence
    assert "twice" in sentence
