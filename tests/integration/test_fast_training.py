"""Real child processes: preferences learned without padding are those learned with it."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from training.runs.folder import RunFolder, write_rows
from training.runs.presets import PRESETS, RunSettings
from training.runs.process import run_trainer

pytestmark = pytest.mark.training
STEPS = 3
TEXT = Path(__file__).parents[2] / "README.md"


def rows(method: str, model: Path) -> list[dict[str, Any]]:
    """Return spans of real text: gradients of random tokens are mostly rounding in bf16."""
    tokens = Tokenizer.from_file(str(model / "tokenizer.json")).encode(TEXT.read_text("utf-8")).ids
    drawn = random.Random(1)

    def span(longest: int) -> list[int]:
        start = drawn.randrange(len(tokens) - longest)
        return tokens[start : start + drawn.randrange(4, longest)]

    if method != "kto":
        return [
            {"prompt_ids": span(12), "chosen_ids": span(60), "rejected_ids": span(40)}
            for _ in range(4 * STEPS)
        ]
    return [
        {"prompt_ids": span(12), "completion_ids": span(60), "label": i % 2 == 0}
        for i in range(4 * STEPS)
    ]


def figures(folder: Path, model: Path, method: str, **changes: Any) -> list[dict[str, float]]:
    """Train a few steps in a real child and return the figures of each."""
    short = {"max_steps": STEPS, "batch": 4, "warmup": 0, "samples": 0, "learning_rate": 1e-4}
    settings = RunSettings(**(PRESETS["laptop"].model_dump() | short | changes))
    run = RunFolder(folder)
    run.path.mkdir()
    write_rows(run.train, rows(method, model))
    write_rows(run.held_out, [])
    write_rows(run.questions, [])
    run.write_config(
        {
            "method": method,
            "settings": settings.model_dump(mode="json"),
            "model": str(model),
            "device": "cpu",
            "pad_token_id": 0,
            "sample_tokens": 0,
        }
    )
    events: list[dict[str, Any]] = []
    last = asyncio.run(run_trainer(run, settings, on_message=events.append))
    assert (last["event"], last["step"]) == ("done", STEPS)
    found = [event["values"] for event in events if event["event"] == "metrics"]
    return [values for values in found if "loss" in values]


def test_without_padding_preferences_are_learned_alike(
    tmp_path: Path, embedded_model: Path
) -> None:
    """KTO goes through the model in most ways; the others are compared on a tiny model.

    Gradients of the first step are near; later losses carry the rounding of bf16, some 0.3 nats in
    the log-probability of a text, times beta.
    """
    padded = figures(tmp_path / "padded", embedded_model, "kto")
    flat = figures(tmp_path / "flat", embedded_model, "kto", layers="compiled")
    assert flat[0]["loss"] == pytest.approx(padded[0]["loss"], abs=1e-3)
    assert flat[0]["grad_norm"] == pytest.approx(padded[0]["grad_norm"], rel=0.1)
    assert [one["loss"] for one in flat] == pytest.approx([one["loss"] for one in padded], abs=0.05)
