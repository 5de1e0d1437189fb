"""Whether a LoRA adapter belongs to a base: by the names and shapes of their tensors."""

import re
from pathlib import Path

from serving.models.errors import ModelError
from serving.models.tensor_files import TensorPlace, tensor_places, weight_files

_LORA = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<half>[AB])(?:\.\w+)?\.weight$"
)
_PACKED = frozenset({"U8", "I8", "I32"})
"""Quantised weights are stored in other shapes."""


def lora_pairs(adapter: Path) -> dict[str, tuple[str, str]]:
    """Return each module that the adapter changes, with the names of its tensors A and B.

    Raises:
        ModelError: It holds something beside plain LoRA weights, which a merge would lose.
    """
    halves: dict[str, dict[str, str]] = {}
    for name in _tensors(adapter):
        match = _LORA.match(name)
        if match is None:
            raise ModelError(
                f"The adapter in {adapter} holds {name}, which is no plain LoRA weight, so it "
                "cannot be merged. Serve it beside its base, or train one without DoRA, biases "
                "and saved modules."
            )
        halves.setdefault(match["module"], {})[match["half"]] = name
    if not halves:
        raise ModelError(f"{adapter} holds no LoRA weights. Give the folder that PEFT saved.")
    lone = next((module for module, found in halves.items() if len(found) < 2), None)
    if lone is not None:
        raise ModelError(f"The adapter in {adapter} has only half of {lone}. Save it again.")
    return {module: (found["A"], found["B"]) for module, found in sorted(halves.items())}


def check_fit(adapter: Path, base: Path) -> None:
    """Return if every module that the adapter changes is in the base, with fitting shape.

    Raises:
        ModelError: it is an adapter of another build, e.g. of split q/k/v where these are fused.
    """
    changed = _tensors(adapter)
    weights = _tensors(base)
    halves = {name: match for name in changed if (match := _LORA.match(name))}
    if not halves:
        raise ModelError(f"{adapter} holds no LoRA weights. Give the folder that PEFT saved.")
    for name, match in halves.items():
        module = match["module"]
        target = weights.get(f"{module}.weight")
        if target is None:
            raise ModelError(
                f"The adapter in {adapter} changes {module}, which the base in {base} does not "
                f"have{_instead(module, weights)}. Name the base it was trained on with --base."
            )
        if target.dtype not in _PACKED and not _fits(changed[name], match["half"], target):
            raise ModelError(
                f"The adapter in {adapter} changes {module} of another size than the base in "
                f"{base} has. Name the base it was trained on with --base."
            )


def _tensors(folder: Path) -> dict[str, TensorPlace]:
    found = tensor_places(weight_files(folder)).values()
    return {name: place for places in found for name, place in places.items()}


def _fits(lora: TensorPlace, half: str, target: TensorPlace) -> bool:
    """A is (rank, in) and B is (out, rank), of a weight (out, in)."""
    if len(lora.shape) != 2 or len(target.shape) != 2:
        return True
    return lora.shape[1] == target.shape[1] if half == "A" else lora.shape[0] == target.shape[0]


def _instead(module: str, weights: dict[str, TensorPlace]) -> str:
    parent = module.rpartition(".")[0]
    siblings = sorted(
        name.removesuffix(".weight").rpartition(".")[2]
        for name in weights
        if name.startswith(parent + ".") and name.count(".") == module.count(".") + 1
    )
    return f" (it has {', '.join(siblings)})" if siblings else ""
