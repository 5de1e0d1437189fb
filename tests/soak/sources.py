"""What is spoilt beside the examples: a home with some of everything, and its own exports."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook

from tests.unit.test_digest import make_adapter, make_model

ROOT = Path(__file__).parents[2]
TABLE: list[dict[str, Any]] = [
    {"instruction": "Why is the sky blue?", "reasoning": "You should name the scattering.",
     "output": "Small particles scatter blue light most.", "flag": "assistant", "language": "en"},
    {"instruction": "なぜ空は青い？", "reasoning": "", "output": "青い光が散乱するから。",
     "flag": "translator", "language": "ja"},
    {"instruction": "What is 2 + 2?", "reasoning": "You should add.", "output": "4",
     "flag": "logician", "language": "en"},
]  # fmt: skip
RATINGS = [
    {"scope": "question", "question_id": 1, "axis": "relevant", "value": 4, "rater": "ann",
     "seconds": 3.5, "created_at": "2026-11-01T10:00:00+00:00"},
    {"scope": "reasoning", "question_id": 66, "variant_id": 1, "axis": "clear", "value": 4,
     "rater": "ann"},
    {"scope": "answer", "question_id": 66, "answer_id": 1, "variant_id": 1, "axis": "correct",
     "value": 5, "rater": "bob"},
]  # fmt: skip
PAIRS = [{"prompt": "Why?", "chosen": "Because.", "rejected": "No."}] * 2
CHATS = [
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"{n}?"},
                  {"role": "assistant", "reasoning_content": "You should count.", "content": "4"}]}
    for n in range(3)
]  # fmt: skip


def write_sources(folder: Path, examples: Path) -> Path:
    """Write a home and files of every kind into ``folder``; return it."""
    home = folder / "home"
    home.mkdir()
    _tables(folder)
    _lines(folder / "ratings.jsonl", RATINGS)
    _lines(folder / "chats.jsonl", CHATS)
    (folder / "pairs.json").write_text(json.dumps(PAIRS), "utf-8")
    axes = ROOT / "workbench" / "rating" / "axes.yaml"
    shutil.copy(axes, folder / "axes.yaml")
    shutil.copy(ROOT / "serving" / "formats" / "builtin.yaml", folder / "formats.yaml")
    toml = (
        'device = "cpu"\nrequest_timeout_s = 60\n\n[[servers]]\nname = "t"\nurl = "http://h/v1"\n'
    )
    (folder / "q2q.toml").write_text(toml, "utf-8")
    _run(home, "question", "import", str(examples / "questions"))
    _run(home, "question", "import", str(examples / "training"))
    _run(home, "dataset", "build", str(examples / "datasets" / "first_round.yaml"))
    _run(home, "sweep", "plan", str(examples / "sweeps" / "first.yaml"))
    _run(home, "rate", "import", str(folder / "ratings.jsonl"))
    for kind in ("csv", "xlsx"):
        _run(home, "rate", "export", "--format", kind, "--to", str(folder / f"ratings.{kind}"))
    _run(home, "backup", str(folder / "backup.sqlite"))
    base = make_model(home / "base")
    _run(home, "model", "add", str(base), "--name", "tiny-base")
    module = "model.layers.0.self_attn.q_proj"
    adapter = make_adapter(home / "adapter", str(base), module, (8, 2), (4, 8))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, folder / name)
    return folder


def _tables(folder: Path) -> None:
    names = list(TABLE[0])
    for kind, mark in (("csv", ","), ("tsv", "\t")):
        lines = [
            mark.join(names),
            *(mark.join(f'"{row[name]}"' for name in names) for row in TABLE),
        ]
        (folder / f"table.{kind}").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "table.json").write_text(json.dumps(TABLE, ensure_ascii=False, indent=1), "utf-8")
    _lines(folder / "table.jsonl", TABLE)
    pq.write_table(pa.Table.from_pylist(TABLE), folder / "table.parquet")
    book = Workbook()
    sheet = book.active
    sheet.append(names)
    for row in TABLE:
        sheet.append([row[name] for name in names])
    book.save(folder / "table.xlsx")


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def _run(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "workbench.cli.main", *words]
    given = os.environ | {"Q2Q_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
