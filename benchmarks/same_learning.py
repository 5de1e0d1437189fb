"""Whether faster ways to train learn the same: final held-out loss of each, seed by seed.

    python -m benchmarks.same_learning OUT.json MODEL ROWS --device cuda [--steps 200] [--seeds 3]

ROWS is the folder of a run, of which ``train.jsonl`` and ``held_out.jsonl`` are read. The reference
is Unsloth's own code with a 16-bit base. Runs train side by side, which changes their speed and not
what they learn.
"""

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.setting import note, write_result
from benchmarks.training_speed import events_of
from training.runs.folder import RunFolder, write_rows
from training.runs.presets import PRESETS, RunSettings

WAYS: dict[str, dict[str, Any]] = {
    "Unsloth, bf16": {},
    "Unsloth, nf4": {"base_precision": "nf4"},
    **{
        f"compiled, {precision}": {"layers": "compiled", "base_precision": precision}
        for precision in ("bf16", "nf4", "nf4_fp8", "fp8")
    },
}
REFERENCE = "Unsloth, bf16"


async def trained(
    folder: Path, options: argparse.Namespace, changes: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Train one run and return its losses."""
    given = {
        "max_steps": options.steps, "eval_every": options.steps, "save_every": 10_000,
        "samples": 0, "seed": seed, "learning_rate": 2e-4, "warmup": 5,
    }  # fmt: skip
    settings = RunSettings(**(PRESETS["laptop"].model_dump() | given | changes))
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    for name in ("train.jsonl", "held_out.jsonl"):
        shutil.copy(options.data / name, run.path / name)
    write_rows(run.questions, [])
    run.write_config(
        {
            "method": "sft",
            "settings": settings.model_dump(mode="json"),
            "model": str(options.model),
            "device": options.device,
            "pad_token_id": 0,
            "sample_tokens": 0,
        }
    )
    events, ended = await events_of(run, settings, options.limit_s)
    told = [event["values"] for event in events if event["event"] == "metrics"]
    held_out = [values["held_out_loss"] for values in told if "held_out_loss" in values]
    losses = [values["loss"] for values in told if "loss" in values]
    found: dict[str, Any] = {"held_out": held_out, "steps": len(losses), "last_losses": losses[-5:]}
    if not ended or events[-1]["event"] != "done":
        found["failed"] = (events[-1] if events else {}) | {
            "log": run.log.read_text("utf-8", "replace")[-500:]
        }
    return found


async def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train all ways with all seeds, some side by side."""
    gate = asyncio.Semaphore(options.together)

    async def one(name: str, seed: int) -> tuple[str, int, dict[str, Any]]:
        async with gate:
            place = folder / f"{name.replace(', ', '_')}_{seed}"
            return name, seed, await trained(place, options, WAYS[name], seed)

    ways: dict[str, dict[str, Any]] = {name: {} for name in WAYS}
    seeds = range(3407, 3407 + options.seeds)
    for done in asyncio.as_completed([one(name, seed) for name in WAYS for seed in seeds]):
        name, seed, found = await done
        ways[name][str(seed)] = found
        note(f"{name}, seed {seed}: {found['held_out'][-1:]} {found.get('failed', '')}")
        write_result(options.out, {"steps": options.steps, "runs": ways, "final": final(ways)})
    return ways


def final(ways: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return each way's last held-out loss over the reference's, less 1, seed by seed."""
    last = {
        name: {seed: one["held_out"][-1] for seed, one in runs.items() if one["held_out"]}
        for name, runs in ways.items()
    }
    return {
        name: {
            seed: round(loss / last[REFERENCE][seed] - 1, 5)
            for seed, loss in runs.items()
            if seed in last[REFERENCE]
        }
        for name, runs in last.items()
    }


def main() -> None:
    """Compare and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=3600.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(compare(options, Path(temporary)))


if __name__ == "__main__":
    main()
