"""What a merged weight must be, worked out from the adapter's files alone.

The proof's own reference: it shares no code with the merge that it judges, neither the reading of
the settings nor the arithmetic, so that a mistake there cannot be in both. Letters: r = rank;
out, in = the sides of a weight matrix.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Reference:
    """The tensors and settings of an adapter."""

    tensors: Mapping[str, torch.Tensor]
    """By their names without PEFT's prefix; float32."""
    settings: Mapping[str, Any]

    @classmethod
    def load(cls, adapter: Path) -> "Reference":
        """Return the reference of an adapter folder."""
        settings = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        found = load_file(adapter / "adapter_model.safetensors")
        return cls(
            {name.removeprefix(_PREFIX): tensor.float() for name, tensor in found.items()}, settings
        )

    def expected(self, name: str, base: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return what rows of a merged tensor must be, before they are rounded.

        Args:
            name: Of the tensor in the base, e.g. ``model.layers.0.mlp.up_proj.weight``.
            base: These rows of the base, float32, from row ``first`` on.
            first: Number of the first row.
        """
        module, part = name.rsplit(".", 1)
        rows = slice(first, first + base.shape[0])
        device = base.device
        saved = self._saved(name, module, part)
        value = base if saved is None else saved[rows].to(device)
        if part == "bias":
            extra = self.tensors.get(f"{module}.lora_B.bias")
            return value if extra is None else value + extra[rows].to(device) * self.scale(module)
        delta = self._delta(module, rows)
        if delta is not None:
            value = value + delta.to(device) * self.scale(module)
        length = self._find(f"{module}.lora_magnitude_vector", ".weight")
        if length is not None:
            value = value * (length[rows].to(device) / value.norm(dim=1)).unsqueeze(1)
        return self._with_tokens(module, value, first)

    def scale(self, module: str) -> float:
        """Return the factor of B · A of a module: the first pattern that names it decides."""
        alpha = self._of(module, "alpha_pattern", self.settings.get("lora_alpha", 8))
        a = self.tensors.get(f"{module}.lora_A.weight")
        rank = (self.tensors[f"{module}.lora_embedding_A"] if a is None else a).shape[0]
        return float(alpha) / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)

    def _of(self, module: str, pattern: str, default: float) -> float:
        for key, value in (self.settings.get(pattern) or {}).items():
            if re.search(rf"(?:^|\.)(?:{key})$", module):
                return float(value)
        return default

    def _delta(self, module: str, rows: slice) -> torch.Tensor | None:
        """Return rows of B · A, of an embedding those of its transpose."""
        a, b = (self.tensors.get(f"{module}.lora_{half}.weight") for half in "AB")
        if a is not None and b is not None:
            return b[rows] @ a
        a, b = (self.tensors.get(f"{module}.lora_embedding_{half}") for half in "AB")
        return None if a is None or b is None else (b @ a[:, rows]).T

    def _saved(self, name: str, module: str, part: str) -> torch.Tensor | None:
        return self._find(name, "", f"{module}.base_layer.{part}")

    def _with_tokens(self, module: str, value: torch.Tensor, first: int) -> torch.Tensor:
        trained = self.tensors.get(f"{module}.token_adapter.trainable_tokens_delta")
        if trained is None:
            return value
        named = self.settings["trainable_token_indices"]
        if isinstance(named, dict):
            named = next(ids for key, ids in named.items() if module.endswith(key.split(".")[-1]))
        value = value.clone()
        for place, token in enumerate(named):
            if first <= token < first + value.shape[0]:
                value[token - first] = trained[place].to(value.device)
        return value

    def _find(self, name: str, ending: str, other: str = "") -> torch.Tensor | None:
        known = self.tensors
        return known.get(name, known.get(name + ending, known.get(other)))
