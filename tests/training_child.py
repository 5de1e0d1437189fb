"""Short runs of the real child process on spans of real text."""

import asyncio
import random
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from training.runs.folder import RunFolder, write_rows
from training.runs.presets import PRESETS, RunSettings
from training.runs.process import run_trainer

TEXT = Path(__file__).parents[1] / "README.md"


def rows(method: str, model: Path, n: int) -> list[dict[str, Any]]:
    """Return spans of real text: gradients of random tokens are mostly rounding in bf16."""
    tokens = Tokenizer.from_file(str(model / "tokenizer.json")).encode(TEXT.read_text("utf-8")).ids
    drawn = random.Random(1)

    def span(longest: int) -> list[int]:
        start = drawn.randrange(len(tokens) - longest)
        return tokens[start : start + drawn.randrange(4, longest)]

    if method == "sft":
        return [{"input_ids": ids, "labels": ids} for ids in (span(200) for _ in range(n))]
    if method == "kto":
        return [
            {"prompt_ids": span(12), "completion_ids": span(60), "label": i % 2 == 0}
            for i in range(n)
        ]
    return [
        {"prompt_ids": span(12), "chosen_ids": span(60), "rejected_ids": span(40)} for _ in range(n)
    ]


def trained(
    folder: Path,
    model: Path,
    method: str,
    n_rows: int,
    *,
    preset: str = "laptop",
    device: str = "cpu",
    **changes: Any,
) -> list[dict[str, Any]]:
    """Train in a real child; return its events, the last of which says how it ended."""
    settings = RunSettings(**(PRESETS[preset].model_dump() | changes))  # type: ignore[index]
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    write_rows(run.train, rows(method, model, n_rows))
    looked_at = settings.samples > 0
    write_rows(run.held_out, rows(method, model, 8) if looked_at else [])
    asked = {"question_id": 1, "question": "?", "prompt_ids": [9, 8, 7], "stop_token_ids": [2]}
    write_rows(run.questions, [asked] * settings.samples)
    run.write_config(
        {
            "method": method,
            "settings": settings.model_dump(mode="json"),
            "model": str(model),
            "device": device,
            "pad_token_id": 0,
            "sample_tokens": 20,
        }
    )
    events: list[dict[str, Any]] = []
    events.append(asyncio.run(run_trainer(run, settings, on_message=events.append)))
    return events


def figures(events: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the figures of each step."""
    found = [event["values"] for event in events if event["event"] == "metrics"]
    return [values for values in found if "loss" in values]
