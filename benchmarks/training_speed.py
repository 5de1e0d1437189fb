"""Useful tokens per second and peak memory of training, preset by preset.

    python -m benchmarks.training_speed [OUT.json] [--toy]
    python -m benchmarks.training_speed OUT.json --model FOLDER --device cuda
        [--only "notebook;fast;max;max, 2 GPUs"] [--steps 26] [--limit-s 150] [--text FOLDER]
        [--profile] [--gpu-gib 24]

Every configuration is the real child process (``python -m training.child``) on the same rows of
about 323 tokens, as the example texts of such models have: random ones, or spans of the JSON lines
in a folder, which can be learned. Useful tokens are no padding. FOLDER holds weights in 16 bit and
a tokenizer; the weights may be random. A figure is the median over the steps after the first ones,
which compile and warm up; with 26 steps over 22. ``--profile`` adds what the GPU did in the last
two steps, which count in no median. ``--gpu-gib`` lets each process have no more of its GPU. What
is measured is written at once, and a configuration that fails says why and leaves the others.
``--toy``: the embedded model, by one process and by two.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks.setting import note, write_result
from db.child_process import ChildFailed
from serving.formats.render import IGNORED_LABEL
from serving.models.embedded import ensure_embedded_model
from training.runs.folder import RunFolder, write_rows
from training.runs.presets import PRESETS, RunSettings
from training.runs.process import CHILD, run_trainer

OUT = Path(__file__).parent / "results" / "training_speed_cpu.json"
KEPT: dict[str, Any] = {"packing": True, "accumulation": 1, "recomputation": "none"}
COMPILED: dict[str, Any] = {"layers": "compiled"}
OWN: dict[str, Any] = {"layers": "unsloth", "base_precision": "nf4"}
PAIRS: dict[str, Any] = {**OWN, "packing": False}
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "notebook": ("notebook", {}),
    "fast": ("fast", {}),
    "24gb": ("24gb", {}),
    "max": ("max", {}),
    "max, batch 8": ("max", {**KEPT, "batch": 8}),
    "max, batch 6": ("max", {**KEPT, "batch": 6}),
    "max, batch 8, 16-bit base": ("max", {**KEPT, "batch": 8, "base_precision": "bf16"}),
    "max, batch 2 of 4096": ("max", {**KEPT, "batch": 2, "max_length": 4096}),
    "Unsloth, fast": ("fast", OWN),
    "Unsloth, max": ("max", OWN),
    **{
        f"compiled, max, {precision}": ("max", {**COMPILED, "base_precision": precision})
        for precision in ("bf16", "nf4", "nf4_fp8", "fp8")
    },
    **{
        f"compiled, max, {precision}, batch 6": (
            "max",
            {**COMPILED, "base_precision": precision, "batch": 6},
        )
        for precision in ("bf16", "nf4_fp8", "fp8")
    },
    **{
        f"compiled, fast, {precision}": ("fast", {**COMPILED, "base_precision": precision})
        for precision in ("nf4", "nf4_fp8")
    },
    **{
        f"compiled, batch 1 x 4, {precision}": (
            "max",
            {**COMPILED, "base_precision": precision, "batch": 1, "accumulation": 4},
        )
        for precision in ("nf4", "nf4_fp8")
    },
    "compiled, max, fp8, recomputed": (
        "max",
        {**COMPILED, "base_precision": "fp8", "recomputation": "unsloth"},
    ),
    **{f"Unsloth, {method}": ("max", PAIRS) for method in ("dpo", "orpo", "kto")},
    **{
        f"compiled, {precision}, {method}": (
            "max",
            {**PAIRS, **COMPILED, "base_precision": precision},
        )
        for precision in ("nf4", "fp8")
        for method in ("dpo", "orpo", "kto")
    },
    "max, 2 GPUs": ("max", {"processes": 2}),
    "fast, 2 GPUs": ("fast", {"processes": 2}),
    "compiled, fp8, dpo, 2 GPUs": (
        "max",
        {**PAIRS, **COMPILED, "base_precision": "fp8", "processes": 2},
    ),
    "laptop": ("laptop", {}),
    "laptop, 2 processes": ("laptop", {"processes": 2}),
}
"""Name → preset, and what differs from it."""
ON_GPU = ("notebook", "fast", "max", "max, batch 8", "max, batch 8, 16-bit base")
ON_CPU = ("laptop",)
TWO = (", 2 GPUs", ", 2 processes")
WARM_UP_STEPS = 3
"""Besides the first step, whose speed is not told."""
PROFILED_STEPS = 2
MEAN_TOKENS = 323


class Source:
    """Tokens to learn: random ones, or spans of the text in a folder of JSON lines."""

    def __init__(self, text: Path | None, tokenizer: Path, vocabulary: int) -> None:
        self._random = random.Random(7)
        self._vocabulary = vocabulary
        self._tokens: list[int] = []
        if text is not None:
            whole = "\n".join(path.read_text("utf-8") for path in sorted(text.glob("*.jsonl")))
            self._tokens = Tokenizer.from_file(str(tokenizer)).encode(whole).ids

    def row(self, method: str, longest: int) -> dict[str, Any]:
        """Return a row whose length is spread like real ones; the first third is the prompt."""
        size, other = (
            min(longest, max(32, round(self._random.lognormvariate(5.62, 0.56)))) for _ in range(2)
        )
        ids, prompt = self._span(size), size // 3
        match method:
            case "sft":
                return {"input_ids": ids, "labels": [IGNORED_LABEL] * prompt + ids[prompt:]}
            case "dpo" | "orpo":
                rejected = self._span(max(8, min(longest - prompt, other * 2 // 3)))
                return {
                    "prompt_ids": ids[:prompt],
                    "chosen_ids": ids[prompt:],
                    "rejected_ids": rejected,
                }
            case _:
                label = self._random.random() < 0.5
                return {"prompt_ids": ids[:prompt], "completion_ids": ids[prompt:], "label": label}

    def _span(self, size: int) -> list[int]:
        if not self._tokens:
            return [self._random.randrange(3, self._vocabulary) for _ in range(size)]
        start = self._random.randrange(len(self._tokens) - size)
        return self._tokens[start : start + size]


def n_tokens(row: dict[str, Any]) -> int:
    """Return the tokens of a row's texts."""
    return sum(len(value) for name, value in row.items() if name.endswith("_ids"))


def settings_of(name: str, steps: int) -> RunSettings:
    """Return all settings of a candidate; it saves and looks at nothing while it is measured."""
    preset, changes = CANDIDATES[name]
    quiet = {"max_steps": steps, "save_every": 10_000, "eval_every": 10_000, "samples": 0}
    chosen = PRESETS[preset].model_dump() | changes | quiet  # type: ignore[index]
    return RunSettings(**chosen)


def measure(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train a few steps of one candidate and return its figures, or why there are none."""
    settings = settings_of(name, options.steps)
    run = RunFolder(folder / "runs" / name.replace(" ", "_").replace(",", ""))
    run.path.mkdir(parents=True)
    options.folder = run.path
    n_rows = options.steps * settings.batch * settings.accumulation * settings.processes
    if settings.packing:
        n_rows *= settings.max_length // MEAN_TOKENS + 2
    method = next((one for one in ("orpo", "dpo", "kto") if one in name), "sft")
    tokenizer = options.model / "tokenizer.json"
    source = Source(options.text, tokenizer, options.vocabulary)
    written = [source.row(method, settings.max_length) for _ in range(n_rows)]
    write_rows(run.train, written)
    write_rows(run.held_out, [])
    write_rows(run.questions, [])
    run.write_config(
        {
            "method": method,
            "settings": settings.model_dump(mode="json"),
            "model": str(options.model),
            "device": options.device,
            "pad_token_id": 0,
            "sample_tokens": 0,
        }
    )
    started, module = time.monotonic(), CHILD
    if options.gpu_gib:
        os.environ["Q2Q_GPU_GIB"], module = str(options.gpu_gib), "benchmarks.profiled_child"
    if options.profile:
        os.environ["Q2Q_PROFILE"] = f"{run.path / 'profile.json'} {options.steps - PROFILED_STEPS}"
        module = "benchmarks.profiled_child"
    events, ended = asyncio.run(events_of(run, settings, options.limit_s, module))
    seconds = round(time.monotonic() - started, 1)
    return {
        "settings": settings.model_dump(mode="json"),
        "mean_row_tokens": round(statistics.mean(map(n_tokens, written))),
        "process_seconds": seconds,
        **figures(events, options, ended=ended, log=run.log.read_text("utf-8", "replace")),
    }


async def events_of(
    run: RunFolder, settings: RunSettings, limit_s: float, module: str = CHILD
) -> tuple[list[dict[str, Any]], bool]:
    """Train, and return what the child told, and whether it ended in time."""
    events: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(limit_s):
            events.append(await run_trainer(run, settings, on_message=events.append, module=module))
    except ChildFailed as failed:
        events.append({"event": "failed", "message": str(failed)})
    except TimeoutError:
        return events, False
    return events, True


def figures(
    events: list[dict[str, Any]], options: argparse.Namespace, *, ended: bool, log: str
) -> dict[str, Any]:
    """Return what the child told: medians after the warm-up, and its end if that was a bad one."""
    told = [event["values"] for event in events if event["event"] == "metrics"]
    last = options.steps - PROFILED_STEPS if options.profile else options.steps
    steps = [values for values in told[:last] if "tokens_per_second" in values][WARM_UP_STEPS:]
    found: dict[str, Any] = {"steps_measured": len(steps)}
    if steps:
        speeds = [values["tokens_per_second"] for values in steps]
        found["tokens_per_second"] = round(statistics.median(speeds), 1)
        found["slowest"], found["fastest"] = round(min(speeds), 1), round(max(speeds), 1)
        found["peak_memory_gib"] = round(max(values["memory_gib"] for values in steps), 2)
    found["losses"] = [round(values["loss"], 4) for values in told if "loss" in values]
    found["how"] = next((event["how"] for event in events if event["event"] == "steps_run"), None)
    found["phases"] = next((e["seconds"] for e in reversed(events) if e["event"] == "phase"), {})
    profile = options.folder / "profile.json"
    if profile.exists():
        found["profile"] = json.loads(profile.read_text("utf-8"))
    failed = next((event for event in events if event["event"] == "failed"), None)
    if failed is not None:
        found["failed"] = failed["message"]
    elif not ended:
        found["cut"] = "reached its time limit"
    elif not steps:
        found["failed"] = log[-400:]
    return found


def of_one_gpu(measured: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """Return the speed of each configuration on two GPUs as a multiple of the same on one."""
    found = {}
    for name, one in measured.items():
        of_one = next((name.removesuffix(end) for end in TWO if name.endswith(end)), "")
        speeds = [run.get("tokens_per_second") for run in (one, measured.get(of_one, {}))]
        if all(speeds):
            found[name] = round(speeds[0] / speeds[1], 3)
    return found


def compared(measured: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """Return each speed as a multiple of the notebook's."""
    base = measured.get("notebook", {}).get("tokens_per_second")
    return {
        name: round(one["tokens_per_second"] / base, 2)
        for name, one in measured.items()
        if base and "tokens_per_second" in one
    }


def main() -> None:
    """Measure the candidates one after the other and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--model", type=Path, help="default: the embedded model")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", help="names of candidates, with a semicolon between them")
    parser.add_argument("--steps", type=int, default=26)
    parser.add_argument("--text", type=Path, help="folder of JSON lines to learn")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--gpu-gib", type=float, help="as if the GPU had no more")
    parser.add_argument("--limit-s", type=float, default=150.0)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    options.model = options.model or ensure_embedded_model()
    default = ON_GPU if options.device == "cuda" else ON_CPU
    names = options.only.split(";") if options.only else default
    if options.toy:
        options.steps, names = 6, ("laptop", "laptop, 2 processes")
        options.limit_s = max(options.limit_s, 900.0)
    measured: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            measured[name] = one = measure(name, options, Path(temporary))
            shown = {key: value for key, value in one.items() if key != "settings"}
            note(f"{name}: {json.dumps(shown)}")
            for two, times in of_one_gpu(measured).items():
                note(f"{two}: {times} times one")
            write_result(
                options.out,
                {
                    "model": options.model.name,
                    "times_the_notebook": compared(measured),
                    "times_one_gpu": of_one_gpu(measured),
                    "runs": measured,
                },
            )


if __name__ == "__main__":
    main()
