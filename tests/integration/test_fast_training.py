"""Real child processes: preferences learned without padding are those learned with it."""

from pathlib import Path
from typing import Any

import pytest

from tests.training_child import figures, trained

pytestmark = [pytest.mark.training, pytest.mark.soak]
STEPS = 3


def steps(folder: Path, model: Path, **changes: Any) -> list[dict[str, float]]:
    short = {"max_steps": STEPS, "batch": 4, "warmup": 0, "samples": 0, "learning_rate": 1e-4}
    events = trained(folder, model, "kto", 4 * STEPS, **(short | changes))
    assert (events[-1]["event"], events[-1]["step"]) == ("done", STEPS)
    return figures(events)


def test_without_padding_preferences_are_learned_alike(
    tmp_path: Path, embedded_model: Path
) -> None:
    """KTO goes through the model in most ways; the others are compared on a tiny model.

    Gradients of the first step are near; later losses carry the rounding of bf16, some 0.3 nats in
    the log-probability of a text, times beta.
    """
    padded = steps(tmp_path / "padded", embedded_model)
    flat = steps(tmp_path / "flat", embedded_model, layers="compiled")
    assert flat[0]["loss"] == pytest.approx(padded[0]["loss"], abs=1e-3)
    assert flat[0]["grad_norm"] == pytest.approx(padded[0]["grad_norm"], rel=0.1)
    assert [one["loss"] for one in flat] == pytest.approx([one["loss"] for one in padded], abs=0.05)
