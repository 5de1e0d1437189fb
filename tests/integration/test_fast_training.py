"""Real child processes: preferences learned without padding are those learned with it."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from training.runs.folder import RunFolder, read_rows, write_rows
from training.runs.presets import PRESETS, RunSettings
from training.runs.process import kill_group, start, wait_for

pytestmark = pytest.mark.training
STEPS = 3


def rows(method: str) -> list[dict[str, Any]]:
    drawn = random.Random(1)

    def ids(longest: int) -> list[int]:
        return [drawn.randrange(300, 40_000) for _ in range(drawn.randrange(4, longest))]

    if method == "dpo":
        return [
            {"prompt_ids": ids(12), "chosen_ids": ids(60), "rejected_ids": ids(40)}
            for _ in range(4 * STEPS)
        ]
    return [
        {"prompt_ids": ids(12), "completion_ids": ids(60), "label": i % 2 == 0}
        for i in range(4 * STEPS)
    ]


def losses(folder: Path, model: Path, method: str, **changes: Any) -> list[float]:
    """Train a few steps in a real child and return the losses it told."""
    short = {"max_steps": STEPS, "batch": 4, "warmup": 0, "samples": 0, "save_every": 100}
    settings = RunSettings(**(PRESETS["laptop"].model_dump() | short | changes))
    run = RunFolder(folder)
    run.path.mkdir()
    write_rows(run.train, rows(method))
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
    child = start(run, settings.processes)
    assert asyncio.run(wait_for(child, 300)), run.log.read_text()[-2000:]
    kill_group(child.pid)
    child.wait()
    events = list(read_rows(run.events))
    assert events[-1]["event"] == "done", events[-1]
    assert events[-1]["step"] == STEPS
    return [event["values"]["loss"] for event in events if event["event"] == "metrics"]


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_without_padding_preferences_are_learned_alike(
    tmp_path: Path, embedded_model: Path, method: str
) -> None:
    padded = losses(tmp_path / "padded", embedded_model, method)
    assert losses(tmp_path / "flat", embedded_model, method, layers="compiled") == pytest.approx(
        padded, rel=0.02
    )


def test_an_fp8_base_trains_on_two_processes(tmp_path: Path, embedded_model: Path) -> None:
    """The products are emulated; layers, adapters and their gradients are those of a GPU."""
    found = losses(
        tmp_path / "fp8", embedded_model, "dpo",
        layers="compiled", base_precision="fp8", processes=2,
    )  # fmt: skip
    assert found[0] == pytest.approx(0.693, abs=0.01)
