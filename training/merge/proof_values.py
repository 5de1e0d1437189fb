"""Child process: compare every value of a merge with base and adapter, tensor by tensor.

Nothing is loaded whole: a few tensors at a time, whatever the size of the model.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from db.child_process import send, serve
from serving.models.adapters import read_adapter
from training.merge.expected import Reference
from training.merge.tensors import DTYPES, MappedTensor, mapped_folder

HALF_STEP = {"BF16": 2.0**-8, "F16": 2.0**-11, "F32": 2.0**-24}
"""The largest relative error of rounding once to the dtype."""
_ROWS = 4096
"""Rows of a matrix compared at a time, to bound memory."""
_CPU_THREADS, _CUDA_THREADS = 2, 4


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
