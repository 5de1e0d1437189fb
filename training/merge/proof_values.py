"""Child process: compare every value of a merge with base and adapter, tensor by tensor.

Nothing is loaded whole: a few tensors at a time, whatever the size of the model.
"""

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.merge.child import serve, tell
from training.merge.lora import LoraModule, load_lora
from training.merge.tensors import DTYPES, MappedTensor, mapped_folder

HALF_STEP = {"BF16": 2.0**-8, "F16": 2.0**-11, "F32": 2.0**-24}
"""The largest relative error of rounding once to the dtype."""
_ROWS = 4096
"""Rows of a matrix compared at a time, to bound memory."""
_CPU_THREADS, _CUDA_THREADS = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far a merged weight is from base + scale · B · A."""

    module: str
    half_steps: float
    """The largest |merged - (base + delta)| / (|base| + |delta|), in half steps of the dtype."""


def prove_values(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what the values of a merge are. Spec: ``base``, ``adapter``, ``merged``, ``device``.

    The result names tensors that are not finite, and the module that deviates most.
    """
    modules = load_lora(Path(spec["adapter"]))
    device: str = spec["device"]
    with mapped_folder(Path(spec["base"])) as base, mapped_folder(Path(spec["merged"])) as merged:
        names = sorted(merged, key=lambda name: merged[name].place.start)
        total = len(names)
        seen = 0

        def one(name: str) -> tuple[bool, Deviation | None]:
            nonlocal seen
            found = _look(name, merged[name], base.get(name), modules, device)
            seen += 1
            tell(seen, total, "Checking every tensor.")
            return found

        with ThreadPoolExecutor(_CUDA_THREADS if device == "cuda" else _CPU_THREADS) as pool:
            looked = dict(zip(names, pool.map(one, names), strict=True))
    deviations = [deviation for _, deviation in looked.values() if deviation is not None]
    worst = max(deviations, key=lambda found: found.half_steps, default=None)
    return {
        "not_finite": [name for name, (finite, _) in looked.items() if not finite],
        "compared": len(deviations),
        "targeted": len(modules),
        "worst_module": worst.module if worst else None,
        "worst_half_steps": worst.half_steps if worst else None,
    }


def _look(
    name: str,
    merged: MappedTensor,
    base: MappedTensor | None,
    modules: Mapping[str, LoraModule],
    device: str,
) -> tuple[bool, Deviation | None]:
    if merged.place.dtype not in DTYPES:
        return True, None
    values = merged.tensor(device)
    finite = bool(torch.isfinite(values).all())
    module = name.removesuffix(".weight")
    lora = modules.get(module)
    if lora is None or base is None or base.place.shape != merged.place.shape or not finite:
        return finite, None
    largest = _largest_deviation(values, base.tensor(device), lora)
    steps = largest / HALF_STEP[merged.place.dtype]
    return finite, Deviation(module=module, half_steps=steps)


def _largest_deviation(merged: torch.Tensor, base: torch.Tensor, lora: LoraModule) -> float:
    """Return the largest |merged - (base + delta)| / (|base| + |delta|) of matrices (out, in)."""
    largest = 0.0
    a = lora.a.to(merged.device)
    for start in range(0, merged.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        delta = (lora.b[rows].to(merged.device) @ a) * lora.scale
        before = base[rows].float()
        error = (merged[rows].float() - (before + delta)).abs_()
        scale = before.abs_() + delta.abs_()
        share = torch.where(error == 0, 0.0, error / scale.clamp_min_(torch.finfo().tiny))
        largest = max(largest, float(share.max()))
    return largest


if __name__ == "__main__":
    sys.exit(serve(prove_values))
