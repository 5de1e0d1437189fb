"""The folder of a run: what the child process reads there, and what it writes.

``config.json``, ``train.jsonl``, ``held_out.jsonl``, ``questions.json`` go in;
``log.txt``, ``checkpoints/``, ``adapter/`` come out. A file ``stop`` asks the child to stop.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from db.new_files import json_line

COMPLETE = "complete"
"""File in a checkpoint that is written last: without it, the checkpoint is half a one."""


class RunFolder:
    """Paths and files of one run; the same for the parent and the child."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.train = path / "train.jsonl"
        self.held_out = path / "held_out.jsonl"
        self.questions = path / "questions.json"
        self.log = path / "log.txt"
        self.pid = path / "process.json"
        self.stop = path / "stop"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.cache = path / "cache"
        home = path.parent.parent if path.parent.name == "runs" else path
        self.compiled = home / "cache" / "compiled"
        """What is compiled for one run serves the later ones of its home."""
        self.trackio = home / "trackio"
        """Where Trackio keeps the curves of all runs."""

    def read_config(self) -> dict[str, Any]:
        """Return what the child is told."""
        config: dict[str, Any] = json.loads(self.config.read_text("utf-8"))
        return config

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Tell the child what to do."""
        text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True)
        self.config.write_text(text + "\n", "utf-8")

    def last_checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint; halves that a killed process left are deleted."""
        whole = []
        for folder in self.checkpoints.glob("checkpoint-*"):
            if (folder / COMPLETE).is_file():
                whole.append(folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)  # other processes look here too
        return max(whole, key=lambda one: int(one.name.rpartition("-")[2]), default=None)

    def tidy(self) -> None:
        """Delete what is of no use after the end: caches and checkpoints."""
        for folder in (self.cache, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(f"{json_line(row)}\n")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
