"""How much disk a run needs, asked before it starts."""

import json
from pathlib import Path

from db.errors import Q2QError, free_bytes
from training.runs.presets import RunSettings

_BYTES_EACH = 4 + 8
"""A trained value with its two moments, in 32 bits each."""
_KEPT = 3
"""Two checkpoints and the one being written."""
_LEAST = 200 * 2**20
"""Caches and logs."""


def trained_values(model: Path, settings: RunSettings) -> int:
    """Return about how many values the adapter of a Llama-like base has."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    hidden = int(config.get("hidden_size", 4096))
    inner = int(config.get("intermediate_size", 4 * hidden))
    layers = int(config.get("num_hidden_layers", 40))
    return (
        settings.r
        * layers
        * sum(
            hidden + inner if name in ("gate_proj", "up_proj", "down_proj") else 2 * hidden
            for name in settings.targets
        )
    )


def needed_bytes(model: Path, settings: RunSettings) -> int:
    """Return how much a run writes at most."""
    return trained_values(model, settings) * _BYTES_EACH * _KEPT + _LEAST


def check_disk(folder: Path, model: Path, settings: RunSettings) -> None:
    """Refuse a run that the disk cannot hold.

    Raises:
        Q2QError: There is too little room; the sentence says how much is needed.
    """
    needed, free = needed_bytes(model, settings), free_bytes(folder)
    if free < needed:
        raise Q2QError(
            f"Training needs about {needed / 2**30:.1f} GiB in {folder}, and {free / 2**30:.1f} GiB"
            " are free; make room there, set Q2Q_HOME to another disk, or choose a smaller r."
        )
