"""Where the time of a whole round goes: rows to a trained, merged, proved and served model.

    python -m benchmarks.round_on_gpu [OUT.json] [--toy]
    python -m benchmarks.round_on_gpu OUT.json --model FOLDER [--rows 1000] [--preset auto]
        [--folder PLACE] [--limit-s 1500]

Every step is a command that people type: ``q2q question import``, ``q2q model add``, ``q2q round
run --yes --json``, ``q2q train show --json``, in a home of its own under PLACE. Seconds are those
of the product's own account: the round's by step, the training's by phase. Rows are the English
example rows, numbered so that no two are the same. FOLDER holds a model in 16 bit, whose weights
may be random; without one it is the embedded model.
A round that fails says why and leaves what was timed before. ``--toy``: 120 rows, 15 steps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.setting import note, write_result
from db.messages import time_left

OUT = Path(__file__).parent / "results" / "round_cpu.json"
EXAMPLES = Path(__file__).parents[1] / "examples" / "training"
RUN = "from workbench.cli.main import run; run()"


class Home:
    """A home in which commands are run, each timed."""

    def __init__(self, folder: Path, deadline: float) -> None:
        self._environment = {**os.environ, "Q2Q_HOME": str(folder)}
        self._deadline = deadline
        self.commands: dict[str, float] = {}

    def q2q(self, *arguments: str) -> Any:
        """Run a command with ``--json`` and return what it answers; its progress is shown."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", RUN, *arguments, "--json"],
            env=self._environment, stdout=subprocess.PIPE, text=True, check=False,
            timeout=max(1.0, self._deadline - started),
        )  # fmt: skip
        name = " ".join(arguments[:2])
        self.commands[name] = round(time.monotonic() - started, 1)
        note(f"q2q {name}: {self.commands[name]} s")
        answer = json.loads(done.stdout)
        if done.returncode != 0 and arguments[0] != "round":
            raise SystemExit(f"q2q {' '.join(arguments)} failed: {answer['error']}")
        return answer


def write_rows(target: Path, n: int) -> None:
    """Write the English example rows again and again, numbered."""
    lines = (EXAMPLES / "english.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(lines[i % len(lines)]) for i in range(n)]
    for i, row in enumerate(rows):
        row |= {"id": f"round-{i}", "instruction": f"({i + 1}) {row['instruction']}"}
        row["tags"] = ["round"]
    target.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def round_spec(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return a round of one epoch, or of 15 steps, with a small comparison."""
    length = {"max_steps": 15, "samples": 1} if options.toy else {"epochs": 1}
    rules = {
        "name": "round-rows", "kind": "sft", "questions": {"tags": ["round"]},
        "take": {"sources": ["imported"]}, "near_duplicates": None, "held_out": 0.05,
        "without_reasoning": 0,
    }  # fmt: skip
    return {
        "name": "timed",
        "dataset": rules,
        "base": model,
        "train": {"preset": options.preset, **length},
        "compare": {
            "questions": {"tags": ["held-out"], "limit": 3 if options.toy else 16},
            "variants": 1, "max_tokens": 32 if options.toy else 160, "scores": False,
        },
    }  # fmt: skip


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the round and return its account."""
    home = Home(folder / "home", time.monotonic() + options.limit_s)
    rows = folder / "rows.jsonl"
    write_rows(rows, options.rows)
    started = time.monotonic()
    home.q2q("question", "import", str(rows))
    home.q2q("question", "import", str(EXAMPLES / "held_out.jsonl"))
    model = "default"
    if options.model is not None:
        model = home.q2q("model", "add", str(options.model), "--name", "round-base")["name"]
    spec = folder / "round.yaml"
    spec.write_text(yaml.safe_dump(round_spec(model, options), sort_keys=False), "utf-8")
    done = home.q2q("round", "run", str(spec), "--yes")
    whole = time.monotonic() - started
    run = home.q2q("train", "show", "1")
    kept = ("step", "tokens_per_second", "memory_gib", "loss", "held_out_loss", "preset")
    return {
        "rows": options.rows,
        "seconds": round(whole, 1),
        "commands": home.commands,
        "round": done.get("seconds", {}),
        "training": run["phases"],
        "run": {name: run[name] for name in kept},
        **{name: done[name] for name in ("verdict", "error") if name in done},
    }


def show(found: dict[str, Any]) -> None:
    """Print the account as a table."""
    whole = found["seconds"]
    for title in ("commands", "round", "training"):
        note(f"\n{title}")
        for name, seconds in found[title].items():
            note(f"  {name:20} {time_left(seconds):>10} {seconds / whole:6.1%}")
    note(f"\nall {time_left(whole)} {found.get('error', '')}")


def main() -> None:
    """Measure one round and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--model", type=Path, help="default: the embedded model")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--folder", type=Path, help="a place with room for the merged model")
    parser.add_argument("--limit-s", type=float, default=1500.0)
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    if options.toy:
        options.rows = 120
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        found = measure(options, Path(temporary))
    show(found)
    write_result(options.out, {"model": options.model and options.model.name, **found})


if __name__ == "__main__":
    main()
