"""Folders of data: what a card or a listing names is read, nothing else, and tests never train."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from db.errors import UsageError
from serving.importers.folders import parts_of
from workbench.cli.main import app

FILES = ("data/train-0.jsonl", "data/train-1.jsonl", "data/test-0.jsonl", "old.jsonl")
TRAIN = [("data/train-0.jsonl", False), ("data/train-1.jsonl", False)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"question": "Why?"}')
    return tmp_path / "set"


def with_card(folder: Path, line_end: str = "\n", **head: Any) -> list[tuple[str, bool]]:
    text = f"---\n{yaml.safe_dump(head)}---\n# A set\n"
    (folder / "README.md").write_text(text, newline=line_end)
    return read(folder)


def read(path: Path, only: str | None = None) -> list[tuple[str, bool]]:
    return [(part.name, part.is_held_out) for part in parts_of(path, only)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "data_files",
    [
        "data/train-*.jsonl",
        "./data/train-*.jsonl",
        ["data/train-0.jsonl", "data/train-1.jsonl"],
        {"train": "data/train-*.jsonl"},
        {"train": ["data/train-0.jsonl", "data/train-1.jsonl"]},
        [{"split": "train", "path": "data/train-*.jsonl"}],
        [{"split": "train", "path": ["data/train-0.jsonl", "**/train-1.jsonl"]}],
        {"split": "train", "path": "data/train-[0-9].jsonl"},
    ],
)
def test_only_what_a_card_names_is_read_however_it_is_spelled(
    folder: Path, data_files: Any, line_end: str
) -> None:
    assert with_card(folder, line_end, configs=[{"data_files": data_files}]) == TRAIN
    (note,) = parts_of(folder)[0].notes
    assert note.endswith("are not read: data/test-0.jsonl, old.jsonl.")


def test_a_file_in_two_splits_never_trains(folder: Path) -> None:
    for splits in (["test", "train"], ["train", "test"]):
        files = [{"split": one, "path": "data/train-0.jsonl"} for one in splits]
        assert with_card(folder, configs=[{"data_files": files}]) == [("data/train-0.jsonl", True)]


def test_the_names_of_files_tell_where_a_card_names_no_split(folder: Path) -> None:
    found = with_card(folder, configs=[{"data_files": "data"}])
    assert found == [*TRAIN, ("data/test-0.jsonl", True)]
    assert with_card(folder, configs=[{"data_dir": "data"}]) == found


def test_the_default_configuration_is_read_or_one_is_asked_for(folder: Path) -> None:
    new = {"config_name": "new", "data_files": "data/train-*.jsonl"}
    old = {"config_name": "old", "data_files": "old.jsonl"}
    with pytest.raises(UsageError, match="choose one of new, old with --only"):
        with_card(folder, configs=[new, old])
    assert read(folder, "old") == [("old.jsonl", False)]
    assert with_card(folder, configs=[old, {**new, "default": True}]) == TRAIN
    assert parts_of(folder)[0].notes[0] == "Read configuration new; not read: old."
    assert with_card(folder, configs=[old, {**new, "config_name": "default"}]) == TRAIN
    with pytest.raises(UsageError, match="has no configuration 'nope'; it has old, default"):
        read(folder, "nope")


@pytest.mark.parametrize(
    ("data_files", "sentence"),
    [
        (7, "data_files holds '7'; write the path of a file"),
        ("gone/*.jsonl", "names gone/.*, which is not there"),
        ("../secret.jsonl", "names ../secret.jsonl, which is no file"),
    ],
)
def test_what_a_card_names_wrongly_is_told(folder: Path, data_files: Any, sentence: str) -> None:
    (folder.parent / "secret.jsonl").write_text("{}")
    with pytest.raises(UsageError, match=sentence):
        with_card(folder, configs=[{"data_files": data_files}])


def test_hidden_files_and_locks_are_skipped_and_noted(folder: Path) -> None:
    for name in ("._old.jsonl", "~$b.xlsx", ".~lock.c.csv", ".hid.csv", "__MACOSX/x.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\x00\x01 no data")
    parts = parts_of(folder)
    assert sorted(part.name for part in parts) == sorted(FILES)
    (note,) = (note for part in parts for note in part.notes)
    assert note.startswith("Hidden files and locks are not read: ")
    assert all(name in note for name in ("._old.jsonl", "~$b.xlsx", ".hid.csv", "__MACOSX"))
    assert with_card(folder, configs=[{"data_files": "*.jsonl"}]) == [("old.jsonl", False)]


def listing(folder: Path, **entry: Any) -> Path:
    (folder / "dataset_info.json").write_text(json.dumps({"mine": entry}))
    return folder


def test_a_listed_folder_is_read_with_all_its_files(folder: Path) -> None:
    found = read(listing(folder, file_name="data", columns={"prompt": "question"}))
    assert found == [*TRAIN, ("data/test-0.jsonl", True)]
    assert all(part.columns == {"question": "instruction"} for part in parts_of(folder))
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="the folder empty holds no data"):
        read(listing(folder, file_name="empty"))


@pytest.mark.parametrize("formatting", ["alpaca", "sharegpt", "openai", None])
def test_known_formats_of_a_listing_are_taken(folder: Path, formatting: str | None) -> None:
    assert read(listing(folder, file_name="old.jsonl", formatting=formatting))


@pytest.mark.parametrize("formatting", ["alpacca", "ShareGPT", 7])
def test_unknown_formats_of_a_listing_are_refused(folder: Path, formatting: object) -> None:
    with pytest.raises(UsageError, match="is not known; write one of alpaca, sharegpt, openai"):
        read(listing(folder, file_name="old.jsonl", formatting=formatting))


def test_a_limit_that_is_not_obeyed_is_noted(folder: Path) -> None:
    (part,) = parts_of(listing(folder, file_name="old.jsonl", num_samples=10))
    assert part.notes == ("num_samples 10 is not used; all rows are read.",)


def test_a_folder_packed_with_its_own_name_is_opened(tmp_path: Path) -> None:
    for outer, never in (("a/set", False), ("b/test", True)):
        inner = tmp_path / outer
        inner.mkdir(parents=True)
        (inner / "x.jsonl").write_text("{}")
        (inner / "y.jsonl").write_text("{}")
        (inner.parent / ".DS_Store").write_text("")
        assert read(inner.parent) == [("x.jsonl", never), ("y.jsonl", never)]


def test_questions_of_a_folder_come_without_hidden_files_and_say_what_is_deeper(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("Q2Q_HOME", str(folder.parent / "home"))
    (folder / "._a.csv").write_bytes(b"\x00\x05")
    (folder / ".hid.csv").write_text("question\nHidden?\n")
    done = CliRunner().invoke(app, ["question", "import", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["added"] == 1
    assert told["notes"][:2] == [
        "Hidden files and locks are not read: ._a.csv, .hid.csv.",
        "Files in subfolders are not read: data.",
    ]
