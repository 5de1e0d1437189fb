"""Child process: compare every value of a merge with base and adapter, tensor by tensor.

Nothing is loaded whole: a few tensors at a time, whatever the size of the model.
"""

import json
import math
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from db.child_process import send, serve
from serving.models.adapters import read_adapter
from training.merge.lora import DTYPES, MappedTensor, mapped_folder

HALF_STEP = {"BF16": 2.0**-8, "F16": 2.0**-11, "F32": 2.0**-24}
"""The largest relative error of rounding once to the dtype."""
_ROWS = 4096
"""Rows of a matrix compared at a time, to bound memory."""
_CPU_THREADS, _CUDA_THREADS = 2, 4
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Reference:
    """What a merged weight must be, worked out from the adapter's files alone.

    It shares no code with the merge that it judges, neither the reading of the settings nor the
    arithmetic, so that a mistake there cannot be in both. Letters: r = rank; out, in = the sides of
    a weight matrix.
    """

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far a merged weight is from what base and adapter make of it."""

    module: str
    half_steps: float
    """The largest |merged - expected| / (|base| + |expected - base|), in half steps of the dtype.

    Of plain LoRA, ``expected`` is base + scale · B · A.
    """


def prove_values(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what the values of a merge are. Spec: ``base``, ``adapter``, ``merged``, ``device``.

    The result names tensors that are not finite, and the module that deviates most.
    """
    adapter = Path(spec["adapter"])
    reference, targeted = Reference.load(adapter), read_adapter(adapter).changes.keys()
    device: str = spec["device"]
    with mapped_folder(Path(spec["base"])) as base, mapped_folder(Path(spec["merged"])) as merged:
        names = sorted(merged, key=lambda name: merged[name].place.start)
        total = len(names)
        seen = 0

        def one(name: str) -> tuple[bool, Deviation | None]:
            nonlocal seen
            before = base.get(name) if name in targeted else None
            found = _look(name, merged[name], before, reference, device)
            seen += 1
            send(done=seen, total=total, message="Checking every tensor.")
            return found

        with ThreadPoolExecutor(_CUDA_THREADS if device == "cuda" else _CPU_THREADS) as pool:
            looked = dict(zip(names, pool.map(one, names), strict=True))
    deviations = [deviation for _, deviation in looked.values() if deviation is not None]
    worst = max(deviations, key=lambda found: found.half_steps, default=None)
    return {
        "not_finite": [name for name, (finite, _) in looked.items() if not finite],
        "compared": len(deviations),
        "targeted": len(targeted),
        "worst_module": worst.module if worst else None,
        "worst_half_steps": worst.half_steps if worst else None,
    }


def _look(
    name: str, merged: MappedTensor, base: MappedTensor | None, reference: Reference, device: str
) -> tuple[bool, Deviation | None]:
    """Return whether all values are finite; and of a targeted tensor (``base``), how far it is."""
    if merged.place.dtype not in DTYPES:
        return True, None
    values = merged.tensor(device)
    finite = bool(torch.isfinite(values).all())
    if base is None or base.place.shape != merged.place.shape or not finite:
        return finite, None
    largest = _largest_deviation(name, values, base.tensor(device), reference)
    steps = largest / HALF_STEP[merged.place.dtype]
    return finite, Deviation(module=name.removesuffix(".weight"), half_steps=steps)


def _largest_deviation(
    name: str, merged: torch.Tensor, base: torch.Tensor, reference: Reference
) -> float:
    """Return the largest |merged - expected| / (|base| + |expected - base|) of a tensor."""
    largest = 0.0
    for start in range(0, merged.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        before = base[rows].float()
        expected = reference.expected(name, before, start)
        error = (merged[rows].float() - expected).abs_()
        scale = before.abs() + (expected - before).abs_()
        share = torch.where(error == 0, 0.0, error / scale.clamp_min_(torch.finfo().tiny))
        largest = max(largest, float(share.max()))
    return largest


if __name__ == "__main__":
    sys.exit(serve(prove_values))
