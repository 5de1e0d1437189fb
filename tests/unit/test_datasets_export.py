"""What is exported is loaded by ``datasets``, by TRL's own tools, and by our import."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.database import Database
from db.datasets import dataset_rows, find_dataset, list_datasets
from db.errors import UsageError
from serving.importers.readers import read_rows
from tests.unit.dataset_lab import Lab
from training.datasets.export import FORMATS, default_prompt_format, export

LOADS = """
import json, sys
from datasets import load_dataset
from trl import is_conversational, maybe_apply_chat_template
from transformers import AutoTokenizer

out = {}
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for path in sys.argv[2:]:
    kind = "parquet" if path.endswith(".parquet") else "json"
    if "." in path.rsplit("/", 1)[-1]:
        rows = load_dataset(kind, data_files=path, cache_dir=sys.argv[0] + ".cache")["train"]
        splits = ["train"]
    else:
        both = load_dataset(path, cache_dir=sys.argv[0] + ".cache")
        rows, splits = both["train"], sorted(both)
    first = rows[0]
    names = {"prompt", "completion", "chosen", "rejected", "label", "messages"} & set(first)
    applied = None
    if names and is_conversational({k: first[k] for k in names}):
        applied = maybe_apply_chat_template({k: first[k] for k in names}, tokenizer)
    out[path.rsplit("/", 1)[-1]] = {
        "n": len(rows), "splits": splits, "columns": sorted(first), "first": first,
        "conversational": bool(names) and is_conversational(first), "applied": applied,
    }
print(json.dumps(out))
"""
SUFFIX = {"alpaca": ".json", "sharegpt": ".json", "messages": ".jsonl", "trl": ".jsonl"}
COLUMNS: dict[tuple[str, str], set[str]] = {
    ("sft", "alpaca"): {"instruction", "input", "output", "reasoning", "flag"},
    ("sft", "sharegpt"): {"system", "conversations"},
    ("sft", "messages"): {"messages"},
    ("sft", "trl"): {"prompt", "completion"},
    ("dpo", "alpaca"): {"instruction", "input", "chosen", "rejected", "reasoning", "flag"},
    ("dpo", "sharegpt"): {"system", "conversations", "chosen", "rejected"},
    ("dpo", "messages"): {"prompt", "chosen", "rejected"},
    ("dpo", "trl"): {"prompt", "chosen", "rejected"},
    ("kto", "alpaca"): {"instruction", "input", "output", "reasoning", "flag", "label"},
    ("kto", "sharegpt"): {"system", "conversations", "kto_tag"},
    ("kto", "messages"): {"prompt", "completion", "label"},
    ("kto", "trl"): {"prompt", "completion", "label"},
}


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def fill(lab: Lab) -> None:
    for i in range(6):
        q, v, a = lab.whole(
            f"{'富士山の高さは'[i]}{'abcdef'[i] * 12}?",
            "You should think of it.",
            f"答え {i} <|response|>",
        )
        w = lab.reasoning(q, "You should nap.")
        b = lab.answer(q, w, "No.")
        lab.rate(v, over=w), lab.rate(a, over=b, scope="whole")
        lab.rate(v, 1, axis="ok"), lab.rate(b, 0, axis="ok", scope="answer")


def freeze_all(lab: Lab) -> None:
    lab.freeze(name="sft", take={"chosen": True}, held_out=0.3)
    lab.freeze(name="dpo", kind="dpo")
    lab.freeze(name="kto", kind="kto")


def write(lab: Lab, name: str, kind: str, target: Path, **more: Any) -> dict[str, int]:
    form = lab.registry.format(more.pop("form", default_prompt_format(kind))).definition
    found = find_dataset(lab.session, name)
    return export(lab.session, found, kind, target, form=form, **more)


def test_everything_is_loaded_by_datasets_and_trl(
    lab: Lab, tmp_path: Path, embedded_model: Path
) -> None:
    fill(lab)
    freeze_all(lab)
    folder = tmp_path / "exports"
    folder.mkdir()
    written: dict[str, tuple[str, str]] = {}
    for name in ("sft", "dpo", "kto"):
        for kind, suffix in SUFFIX.items():
            write(lab, name, kind, folder / f"{name}-{kind}{suffix}")
            written[f"{name}-{kind}{suffix}"] = (name, kind)
        write(lab, name, "parquet", folder / f"{name}-table.parquet")
        write(lab, name, "hf", folder / f"{name}-hf")
        write(lab, name, "hf", folder / f"{name}-turns", form="chat")
    paths = sorted(str(path) for path in folder.iterdir())
    script = tmp_path / "load.py"
    script.write_text(LOADS, "utf-8")
    ended = subprocess.run(
        [sys.executable, str(script), str(embedded_model), *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    loaded = json.loads(ended.stdout.splitlines()[-1])
    for file, (name, kind) in written.items():
        assert set(loaded[file]["columns"]) == COLUMNS[name, kind], file
        assert loaded[file]["conversational"] == (kind == "messages"), file
    for name in ("sft", "dpo", "kto"):
        texts, turns = loaded[f"{name}-hf"], loaded[f"{name}-turns"]
        assert set(texts["columns"]) == set(turns["columns"]) == COLUMNS[name, "trl"]
        assert texts["splits"] == ["held_out", "train"]
        assert turns["conversational"]
        assert "<|im_start|>" in turns["applied"]["prompt"]
        assert {"question", "n_ratings", "split"} <= set(loaded[f"{name}-table.parquet"]["columns"])
    first = loaded["sft-trl.jsonl"]["first"]
    assert first["prompt"].endswith("<|reasoning|>")
    assert first["completion"].startswith("You should think of it.\n<|response|>答え")
    assert first["completion"].endswith("< |response|>")  # a person's tag is no tag
    assert loaded["dpo-trl.jsonl"]["n"] == 8


def test_alpaca_comes_back_through_our_own_import(lab: Lab, tmp_path: Path) -> None:
    fill(lab)
    freeze_all(lab)
    path = tmp_path / "sft.json"
    (n_rows,) = write(lab, "sft", "alpaca", path).values()
    rows = read_rows(path).rows
    assert len(rows) == n_rows == 4
    assert {row.reasoning for row in rows} == {"You should think of it."}
    assert all((row.output or "").startswith("答え") for row in rows)


def test_llama_factory_finds_its_files_and_columns(lab: Lab, tmp_path: Path) -> None:
    fill(lab)
    freeze_all(lab)
    for name in ("sft", "dpo", "kto"):
        folder = tmp_path / name
        write(lab, name, "llamafactory", folder)
        info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
        assert set(info) == {f"{name}_train", f"{name}_held_out"}
        for entry in info.values():
            rows = json.loads((folder / entry["file_name"]).read_text("utf-8"))
            assert set(entry["columns"].values()) <= set(rows[0])
            assert entry.get("ranking", False) == (name == "dpo")
            tags = {turn["from"] for turn in rows[0]["conversations"]}
            assert tags <= {"human", "gpt"}


def test_the_card_says_what_is_in_it(lab: Lab, tmp_path: Path) -> None:
    fill(lab)
    freeze_all(lab)
    write(lab, "sft", "hf", tmp_path / "hf")
    text = (tmp_path / "hf" / "README.md").read_text("utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert [one["split"] for one in head["configs"][0]["data_files"]] == ["train", "held_out"]
    dataset = find_dataset(lab.session, "sft")
    for part in (str(dataset.content_hash), "tagged@1", "| chosen | 6 |", "chosen: true"):
        assert part in text, part


def test_nothing_is_overwritten_and_wrong_wishes_are_told(lab: Lab, tmp_path: Path) -> None:
    fill(lab)
    freeze_all(lab)
    there = tmp_path / "there.json"
    there.write_text("mine", "utf-8")
    with pytest.raises(UsageError, match=r"there\.json cannot be written"):
        write(lab, "sft", "alpaca", there)
    assert there.read_text("utf-8") == "mine"
    with pytest.raises(UsageError, match="not empty"):
        write(lab, "sft", "hf", tmp_path)
    with pytest.raises(UsageError, match="choose one of alpaca"):
        write(lab, "sft", "xml", tmp_path / "x", form="tagged")
    with pytest.raises(UsageError, match="give a chat format"):
        write(lab, "sft", "sharegpt", tmp_path / "x", form="tagged")
    assert not (tmp_path / "x").exists()


def test_lists_and_pages_of_frozen_datasets(lab: Lab) -> None:
    fill(lab)
    freeze_all(lab)
    assert [one.name for one in list_datasets(lab.session)] == ["kto", "dpo", "sft"]
    assert find_dataset(lab.session, "1").name == "sft"
    with pytest.raises(UsageError, match="no dataset 'nine'"):
        find_dataset(lab.session, "nine")
    page = dataset_rows(lab.session, 2, page=2, page_size=5)
    assert (page.page, page.total, len(page.rows)) == (2, 12, 5)
    assert all(row.n_ratings == 1 for row in page.rows)
    held = dataset_rows(lab.session, 1, split="held_out")
    assert {row.split for row in held.rows} == {"held_out"}
    assert held.total == 2
    assert len(FORMATS) == 7
