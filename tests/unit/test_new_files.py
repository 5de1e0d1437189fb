"""What is exported is there whole or not at all, and its lines stay lines in every program."""

import errno
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from db.errors import UsageError
from db.new_files import json_line, new_file, new_folder
from serving.importers.readers import read_records
from workbench.cli.exporting import MAX_IN_A_CELL, WRITERS, Columns, write_rows

COLUMNS: Columns = {"id": "integer", "text": "text", "n": "number", "ok": "flag"}
LINE_ENDS = "one\u2028two\u2029three\x85four\x1efive"


def row(text: str, number: int = 1) -> dict[str, Any]:
    return {"id": number, "text": text, "n": 0.5, "ok": True}


def test_json_lines_hold_no_line_end_of_any_program() -> None:
    line = json_line({"text": LINE_ENDS, "half": "\ud83d", "日本": "語"})
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"text": LINE_ENDS, "half": "\ud83d", "日本": "語"}
    assert "日本" in line
    line.encode()


def test_exported_lines_are_as_many_as_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(iter([row(LINE_ENDS), row("b")]), COLUMNS, "jsonl", path)
    lines = path.read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [LINE_ENDS, "b"]


def failing(error: BaseException) -> Iterator[dict[str, Any]]:
    yield row("a")
    raise error


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()]
)
def test_an_export_that_fails_leaves_nothing(
    kind: str, error: BaseException, tmp_path: Path
) -> None:
    expected = UsageError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as failure:
        write_rows(failing(error), COLUMNS, kind, tmp_path / f"rows.{kind}")
    if expected is UsageError:
        assert str(failure.value).endswith("(No space left on device); give another file.")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"rows\.csv cannot be written \(File exists\)"):
        write_rows(iter([row("a")]), COLUMNS, "csv", path)
    assert path.read_text() == "mine"
    with (
        pytest.raises(UsageError, match="File exists"),
        new_file(tmp_path / "late") as file,
    ):
        (tmp_path / "late").write_text("mine")
        file.write(b"other")
    assert {one.name for one in tmp_path.iterdir()} == {"late", "rows.csv"}
    assert (tmp_path / "late").read_text() == "mine"


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No space"), new_folder(tmp_path / "set") as folder:
        (folder / "a").write_text("a")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "set") as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / "set" / "a").read_text() == "a"
    with pytest.raises(UsageError, match="is not empty"), new_folder(tmp_path / "set"):
        pass


def test_workbooks_keep_long_numbers_and_texts_that_look_like_escapes(tmp_path: Path) -> None:
    path = tmp_path / "rows.xlsx"
    texts = ["_x0041_", "a_x000D_b", "=1+1", "bell\x07 and\rreturn", "_x005F_", "#N/A"]
    seed = 2**62 + 1
    write_rows(iter([row(text, seed) for text in texts]), COLUMNS, "xlsx", path)
    records = list(read_records(path).records)
    assert [one.values["text"] for one in records] == texts
    assert {one.values["id"] for one in records} == {str(seed)}
    assert {(one.values["n"], one.values["ok"]) for one in records} == {(0.5, True)}


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_text_that_excel_would_cut_is_refused_without_more_noise(tmp_path: Path) -> None:
    long = "x" * (MAX_IN_A_CELL + 1)
    with pytest.raises(UsageError, match="Row 2, text: has 32,768 characters"):
        write_rows(iter([row("a"), row(long)]), COLUMNS, "xlsx", tmp_path / "rows.xlsx")
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_workbook_opens_in_other_programs(tmp_path: Path) -> None:
    write_rows(iter([row("a")]), COLUMNS, "xlsx", tmp_path / "rows.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "rows.xlsx").active
    assert sheet is not None
    assert [[cell.value for cell in line] for line in sheet.iter_rows()] == [
        ["id", "text", "n", "ok"],
        [1, "a", 0.5, True],
    ]
