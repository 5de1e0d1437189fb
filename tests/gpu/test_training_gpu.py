"""Real training on a GPU: each preset learns, compiled layers write texts, two GPUs learn alike."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training_child import figures, trained

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
STEPS = 8
SHORT: dict[str, Any] = {
    "max_steps": STEPS, "eval_every": STEPS, "save_every": STEPS, "warmup": 0, "max_length": 512,
    "learning_rate": 1e-3,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "fast": {"preset": "fast"},
    "fast of older cards": {"preset": "fast", "base_precision": "nf4"},
    "24gb": {"preset": "24gb"},
    "max": {"preset": "max"},
}


def on_gpu(folder: Path, model: Path, method: str = "sft", **changes: Any) -> list[dict[str, Any]]:
    given = {**SHORT, "samples": 0, **changes}
    return trained(folder, model, method, 64 * STEPS, device="cuda", **given)


@pytest.mark.parametrize("name", CASES)
def test_a_preset_learns_and_writes_texts(name: str, tmp_path: Path, embedded_model: Path) -> None:
    events = on_gpu(tmp_path / "run", embedded_model, samples=2, **CASES[name])
    assert events[-1]["event"] == "done"
    how = next(event["how"] for event in events if event["event"] == "steps_run")
    assert how.startswith("Layers are compiled")
    losses = [values["loss"] for values in figures(events)]
    assert losses[-1] < losses[0]
    texts = [event["samples"] for event in events if event["event"] == "samples"]
    assert len(texts) == 2
    assert all(len(one) == 2 for one in texts)
    seconds = [event["seconds"] for event in events if event["event"] == "phase"][-1]
    assert seconds["samples"] < 30, "two short texts, looked at twice"


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_preferences_are_learned_in_fp8(method: str, tmp_path: Path, embedded_model: Path) -> None:
    events = on_gpu(tmp_path / "run", embedded_model, method, preset="max", packing=False)
    assert events[-1]["event"] == "done"
    assert all(values["grad_norm"] > 0 for values in figures(events))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_two_gpus_learn_what_one_does(precision: str, tmp_path: Path, embedded_model: Path) -> None:
    """The same rows in each step; only their order of adding up differs."""
    one, two = (
        figures(
            on_gpu(
                tmp_path / str(n), embedded_model, preset="max", base_precision=precision,
                processes=n, batch=4 // n,
            )
        )
        for n in (1, 2)
    )  # fmt: skip
    assert [v["loss"] for v in two] == pytest.approx([v["loss"] for v in one], rel=0.03)
    assert two[0]["grad_norm"] == pytest.approx(one[0]["grad_norm"], rel=0.05)
