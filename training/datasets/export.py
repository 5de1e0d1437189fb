"""A frozen dataset as files that other programs read: one file, or a folder with both splits."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from sqlalchemy.orm import Session

from db.datasets import DatasetInfo, Split, every_row
from db.errors import UsageError
from db.new_files import json_line, new_file, new_folder
from serving.formats.definitions import FormatDefinition
from training.datasets.shapes import SHAPES, Row, Shape, must_be_chat, sharegpt, trl
from training.methods import ROW_KINDS, RowKind

_KINDS = {
    "sft": "Examples to imitate (supervised fine-tuning).",
    "dpo": "Pairs of a better and a worse text (DPO).",
    "kto": "Single texts, each OK or not OK (KTO).",
}


def card(dataset: DatasetInfo, files: Mapping[Split, str], prompt_format: str) -> str:
    """Return the README of a dataset folder, as Hugging Face reads it.

    Args:
        dataset: The frozen dataset.
        files: Split → path of its file in the folder.
        prompt_format: Full name of the format that the texts are written in.
    """
    counts = dataset.counts
    head = {
        "pretty_name": dataset.name,
        "language": [name for name in counts["languages"] if name != "?"],
        "tags": ["q2q", dataset.kind],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": path} for split, path in files.items()],
            }
        ],
    }
    rules = yaml.safe_dump(dataset.rules, allow_unicode=True, sort_keys=False).strip()
    return "\n".join(
        [
            "---",
            yaml.safe_dump(head, allow_unicode=True, sort_keys=False).strip(),
            "---",
            "",
            f"# {dataset.name}",
            "",
            f"{_KINDS[dataset.kind]} Chosen by written rules in Q2Q Workbench and frozen on "
            f"{dataset.frozen_at:%Y-%m-%d}; content hash `{dataset.content_hash}`.",
            "",
            f"- rows to train on: {dataset.n_train}; held out: {dataset.n_held_out}. Held-out "
            "questions, their descendants and near-duplicates train in no round.",
            f"- questions: {counts['questions']}; ratings behind the rows: {counts['ratings']}",
            f"- texts are written in the prompt format `{prompt_format}`",
            "",
            *_table("What is learned", counts["targets"]),
            *_table("Roles", counts["roles"]),
            *_table("Languages", counts["languages"]),
            *_table("Taken, by rule", counts["taken"]),
            *_table("Not taken, and why", counts["not_taken"]),
            *_table("Dropped, and why", counts["dropped"]),
            "## Rules",
            "",
            "```yaml",
            rules,
            "```",
            "",
        ]
    )


def _table(title: str, figures: Mapping[str, Any]) -> Sequence[str]:
    if not figures:
        return ()
    rows = [f"| {name.replace('_', ' ')} | {n} |" for name, n in figures.items()]
    return (f"## {title}", "", "| | rows |", "|---|---|", *rows, "")


FILE_FORMATS = ("alpaca", "sharegpt", "messages", "trl", "parquet")
"""One file with one split; ``parquet`` holds both, with a column that tells them apart."""
FOLDER_FORMATS = ("hf", "llamafactory")
FORMATS = (*FILE_FORMATS, *FOLDER_FORMATS)
SPLITS: tuple[Split, ...] = ("train", "held_out")
_OF_TURNS = ("sharegpt", "messages", "llamafactory")
_BATCH = 1_000


def default_prompt_format(kind: str) -> str:
    """Return the prompt format of the texts unless told: chat where there are turns."""
    return "chat" if kind in _OF_TURNS else "tagged"


def export(
    session: Session,
    dataset: DatasetInfo,
    kind: str,
    target: Path,
    *,
    form: FormatDefinition,
    split: Split = "train",
) -> dict[str, int]:
    """Write a dataset and return the rows of each file written.

    Args:
        session: Of the store.
        dataset: What to write.
        kind: One of ``FORMATS``.
        target: The file to make, or the folder; neither may be there yet.
        form: The prompt format of the texts.
        split: What a file of one split holds.

    Raises:
        UsageError: There is no such format, or the target is there or cannot be written.
    """
    if kind not in FORMATS:
        raise UsageError(
            "There is no export as {kind!r}; choose one of {formats}.",
            kind=kind,
            formats=", ".join(FORMATS),
        )
    if kind in _OF_TURNS:
        must_be_chat(form, kind)
    writer = _Writer(session, dataset, form)
    if kind in FOLDER_FORMATS:
        with new_folder(target) as folder:
            write = writer.hugging_face if kind == "hf" else writer.llama_factory
            return write(folder)
    splits = SPLITS if kind == "parquet" else (split,)
    with new_file(target) as file:
        return {target.name: writer.rows(file, kind, SHAPES[kind], splits)}


class _Writer:
    def __init__(self, session: Session, dataset: DatasetInfo, form: FormatDefinition) -> None:
        self.session, self.dataset, self.form = session, dataset, form
        self.kind = ROW_KINDS[dataset.kind]

    def hugging_face(self, folder: Path) -> dict[str, int]:
        files = self._files(folder, {split: f"data/{split}.parquet" for split in SPLITS})
        written = {
            path: self._file(folder / path, "parquet", trl, split) for split, path in files.items()
        }
        text = card(self.dataset, files, self.form.reference)
        (folder / "README.md").write_text(text, "utf-8")
        return written

    def llama_factory(self, folder: Path) -> dict[str, int]:
        files = self._files(folder, {split: f"{split}.json" for split in SPLITS})
        written = {
            path: self._file(folder / path, "sharegpt", sharegpt, split)
            for split, path in files.items()
        }
        info = {
            f"{self.dataset.name}_{split}": _llama_factory_entry(self.kind, path)
            for split, path in files.items()
        }
        (folder / "dataset_info.json").write_text(
            json.dumps(info, ensure_ascii=False, indent=2), "utf-8"
        )
        return written

    def rows(self, file: BinaryIO, kind: str, shape: Shape, splits: Sequence[Split]) -> int:
        """Write the rows of some splits and return how many."""
        rows = (
            shape(row, self.kind, self.form)
            for row in every_row(self.session, self.dataset.id, splits)
        )
        return _WRITERS[kind](file, rows)

    def _file(self, path: Path, kind: str, shape: Shape, split: Split) -> int:
        with path.open("wb") as file:
            return self.rows(file, kind, shape, (split,))

    def _files(self, folder: Path, files: Mapping[Split, str]) -> dict[Split, str]:
        """Return the files of the splits that have rows; their folders are made."""
        n_rows = {"train": self.dataset.n_train, "held_out": self.dataset.n_held_out}
        kept = {split: path for split, path in files.items() if n_rows[split]}
        for path in kept.values():
            (folder / path).parent.mkdir(exist_ok=True)
        return kept


def _llama_factory_entry(kind: RowKind, path: str) -> dict[str, Any]:
    columns = {"messages": "conversations", "system": "system"}
    entry: dict[str, Any] = {"file_name": path, "formatting": "sharegpt"}
    if kind == "pairs":
        entry["ranking"] = True
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    elif kind == "labelled":
        columns["kto_tag"] = "kto_tag"
    return {**entry, "columns": columns}


def _write_json(file: BinaryIO, rows: Iterator[Row]) -> int:
    n_rows = 0
    file.write(b"[")
    for row in rows:
        file.write(f"{',' if n_rows else ''}\n{json_line(row)}".encode())
        n_rows += 1
    file.write(b"\n]\n")
    return n_rows


def _write_jsonl(file: BinaryIO, rows: Iterator[Row]) -> int:
    n_rows = 0
    for row in rows:
        file.write(f"{json_line(row)}\n".encode())
        n_rows += 1
    return n_rows


def _write_parquet(file: BinaryIO, rows: Iterator[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = list(islice(rows, _BATCH))
    schema = _schema(first)
    n_rows = 0
    with pq.ParquetWriter(file, schema) as writer:
        batch = first
        while batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))
            n_rows += len(batch)
            batch = list(islice(rows, _BATCH))
    return n_rows


def _schema(rows: Sequence[Row]) -> Any:
    """Return the columns of ``rows``; one that holds nothing yet holds texts, or numbers of ids."""
    import pyarrow as pa

    def kind_of(name: str, found: Any) -> Any:
        if not pa.types.is_null(found):
            return found
        if name == "label":
            return pa.bool_()
        return pa.int64() if name.endswith("_id") else pa.string()

    inferred = pa.Table.from_pylist(rows).schema
    return pa.schema([(field.name, kind_of(field.name, field.type)) for field in inferred])


_WRITERS: Mapping[str, Callable[[BinaryIO, Iterator[Row]], int]] = {
    "alpaca": _write_json,
    "sharegpt": _write_json,
    "messages": _write_jsonl,
    "trl": _write_jsonl,
    "parquet": _write_parquet,
}
