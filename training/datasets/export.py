"""A frozen dataset as files that other programs read: one file, or a folder with both splits."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db.datasets import DatasetInfo, Split, every_row
from db.errors import UsageError
from serving.formats.definitions import FormatDefinition
from training.datasets.card import card
from training.datasets.shapes import SHAPES, Row, Shape, sharegpt, trl
from training.datasets.texts import must_be_chat

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
        raise UsageError(f"There is no export as {kind!r}; choose one of {', '.join(FORMATS)}.")
    if kind in _OF_TURNS:
        must_be_chat(form, kind)
    writer = _Writer(session, dataset, form)
    try:
        if kind == "hf":
            return writer.hugging_face(target)
        if kind == "llamafactory":
            return writer.llama_factory(target)
        splits = SPLITS if kind == "parquet" else (split,)
        return {target.name: writer.file(target, kind, SHAPES[kind], splits)}
    except OSError as error:
        raise UsageError(
            f"{error.filename or target} cannot be written ({error.strerror}); "
            "give another file or folder."
        ) from error


class _Writer:
    def __init__(self, session: Session, dataset: DatasetInfo, form: FormatDefinition) -> None:
        self.session, self.dataset, self.form = session, dataset, form

    def hugging_face(self, folder: Path) -> dict[str, int]:
        files = self._folder(folder, {split: f"data/{split}.parquet" for split in SPLITS})
        written = {
            path: self.file(folder / path, "parquet", trl, (split,))
            for split, path in files.items()
        }
        text = card(self.dataset, files, self.form.reference)
        (folder / "README.md").write_text(text, "utf-8")
        return written

    def llama_factory(self, folder: Path) -> dict[str, int]:
        files = self._folder(folder, {split: f"{split}.json" for split in SPLITS})
        written = {
            path: self.file(folder / path, "sharegpt", sharegpt, (split,))
            for split, path in files.items()
        }
        info = {
            f"{self.dataset.name}_{split}": _llama_factory_entry(self.dataset.kind, path)
            for split, path in files.items()
        }
        (folder / "dataset_info.json").write_text(_json(info, indent=2), "utf-8")
        return written

    def file(self, path: Path, kind: str, shape: Shape, splits: Sequence[Split]) -> int:
        rows = (
            shape(row, self.dataset.kind, self.form)
            for row in every_row(self.session, self.dataset.id, splits)
        )
        with path.open("xb"):  # refuses to overwrite
            pass
        try:
            return _WRITERS[kind](path, rows)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _folder(self, folder: Path, files: Mapping[Split, str]) -> dict[Split, str]:
        """Make the folder; return the files of the splits that have rows."""
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty; give a new folder.")
        n_rows = {"train": self.dataset.n_train, "held_out": self.dataset.n_held_out}
        kept = {split: path for split, path in files.items() if n_rows[split]}
        for path in kept.values():
            (folder / path).parent.mkdir(exist_ok=True)
        return kept


def _llama_factory_entry(kind: str, path: str) -> dict[str, Any]:
    columns = {"messages": "conversations", "system": "system"}
    entry: dict[str, Any] = {"file_name": path, "formatting": "sharegpt"}
    if kind == "dpo":
        entry["ranking"] = True
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    elif kind == "kto":
        columns["kto_tag"] = "kto_tag"
    return {**entry, "columns": columns}


def _json(value: object, *, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _write_json(path: Path, rows: Iterator[Row]) -> int:
    n_rows = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for row in rows:
            file.write(f"{',' if n_rows else ''}\n{_json(row)}")
            n_rows += 1
        file.write("\n]\n")
    return n_rows


def _write_jsonl(path: Path, rows: Iterator[Row]) -> int:
    n_rows = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(f"{_json(row)}\n")
            n_rows += 1
    return n_rows


def _write_parquet(path: Path, rows: Iterator[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = list(islice(rows, _BATCH))
    schema = _schema(first)
    n_rows = 0
    with pq.ParquetWriter(path, schema) as writer:
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


_WRITERS: Mapping[str, Callable[[Path, Iterator[Row]], int]] = {
    "alpaca": _write_json,
    "sharegpt": _write_json,
    "messages": _write_jsonl,
    "trl": _write_jsonl,
    "parquet": _write_parquet,
}
