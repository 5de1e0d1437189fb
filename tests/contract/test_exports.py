"""Columns and keys of exported files, whatever reads them: spreadsheets, notebooks, trainers.

After a change that is meant:

    WRITE_SNAPSHOTS=1 python -m pytest tests/contract/test_exports.py
"""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from openpyxl import load_workbook

from tests.contract.seeded_home import folder as folder
from tests.contract.seeded_home import q2q
from tests.contract.snapshots import check_snapshot, shape

TABLES = ("jsonl", "csv", "xlsx", "parquet")
DATASETS = {
    "alpaca": ".json",
    "sharegpt": ".json",
    "messages": ".jsonl",
    "trl": ".jsonl",
    "parquet": ".parquet",
    "hf": "",
    "llamafactory": "",
}
"""Format → how the file's name ends; none: a folder."""


def read(path: Path) -> Any:
    """Return the columns of a table, with their kinds where it has some; else keys and types."""
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.suffix in (".json", ".parquet"))
        return {str(one.relative_to(path)): read(one) for one in files}
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file))
    if path.suffix == ".xlsx":
        workbook = load_workbook(path, read_only=True)
        (names,) = workbook.worksheets[0].iter_rows(max_row=1, values_only=True)
        workbook.close()
        return list(names)
    if path.suffix == ".parquet":
        return {field.name: str(field.type) for field in pq.read_schema(path)}
    if path.suffix == ".json":
        return shape(json.loads(path.read_text("utf-8")))
    return shape([json.loads(line) for line in path.read_text("utf-8").splitlines()])


def test_columns_and_keys_of_exports_are_those_of_the_snapshot(folder: Path) -> None:
    q2q("question", "import", str(folder / "questions.jsonl"))
    q2q("dataset", "import", str(folder / "labels.jsonl"))
    found: dict[str, Any] = {}

    def write(command: str, suffix: str, *, option: str | None = None) -> None:
        path = folder / f"exported-{len(found)}{suffix}"
        q2q(*command.split(), *([option] if option else []), str(path))
        found[command] = read(path)

    write("question export", ".jsonl")
    for kind in TABLES:
        write(f"sweep export 1 --format {kind}", f".{kind}", option="--to")
        write(f"rate export --format {kind}", f".{kind}", option="--to")
    write("sweep export 1 --matrix --format parquet", ".parquet", option="--to")
    page = folder / "matrix.html"
    q2q("sweep", "export", "1", "--matrix", "--format", "html", "--to", str(page))
    assert "<script" not in page.read_text("utf-8")
    write("dialogue export 1 --format json", ".json", option="--to")
    for name in ("sft", "dpo", "kto"):
        q2q("dataset", "build", str(folder / f"{name}.yaml"))
        for kind, suffix in DATASETS.items():
            write(f"dataset export --format {kind} {name}", suffix)
    check_snapshot("exports", found)
