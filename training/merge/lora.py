"""The LoRA modules of an adapter folder as tensors: what each adds to its base weight.

Imported by child processes only. Letters: r = rank; out, in = the sides of a weight matrix.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear
from peft.utils.other import get_pattern_key
from safetensors import safe_open
from torch import nn

from serving.models.adapters import lora_pairs
from serving.models.errors import ModelError
from serving.models.tensor_files import weight_files

_NAME = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraModule:
    """What an adapter knows of one weight."""

    a: torch.Tensor
    """(r, in), float32."""
    b: torch.Tensor
    """(out, r), float32."""
    alpha: int
    scale: float
    """alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA."""
    config: LoraConfig = field(repr=False)

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ``weight`` (out, in) with the adapter in it, in its own dtype; it is changed.

        PEFT's own layer does it: float32 product, one rounding.
        """
        out, width = weight.shape
        host = nn.Linear(width, out, bias=False, device="meta")
        host.weight = nn.Parameter(weight, requires_grad=False)
        rank = self.a.shape[0]
        layer = Linear(host, _NAME, self.config, r=rank, lora_alpha=self.alpha)
        layer.lora_A[_NAME].weight.data = self.a.to(weight.device)
        layer.lora_B[_NAME].weight.data = self.b.to(weight.device)
        with torch.no_grad():
            layer.merge()
        return layer.get_base_layer().weight.data


def load_lora(adapter: Path) -> dict[str, LoraModule]:
    """Return module → what the adapter adds to it, e.g. ``model.layers.0.mlp.up_proj``.

    Raises:
        ModelError: The adapter holds more than plain LoRA of linear layers.
    """
    config = LoraConfig.from_pretrained(str(adapter))
    if config.use_dora or config.fan_in_fan_out or config.lora_bias or config.bias != "none":
        raise ModelError(
            f"The adapter in {adapter} uses DoRA, biases or transposed layers, which cannot be "
            "merged here. Serve it beside its base, or train one without."
        )
    config.init_lora_weights = False
    config.lora_dropout = 0.0
    tensors = _tensors(adapter)
    modules = {}
    for module, (a, b) in lora_pairs(adapter).items():
        rank = tensors[a].shape[0]
        alpha = int(
            config.alpha_pattern.get(
                get_pattern_key(list(config.alpha_pattern), module), config.lora_alpha
            )
        )
        modules[module] = LoraModule(
            a=tensors[a],
            b=tensors[b],
            alpha=alpha,
            scale=alpha / (rank**0.5 if config.use_rslora else rank),
            config=config,
        )
    return modules


def _tensors(adapter: Path) -> dict[str, torch.Tensor]:
    (path,) = weight_files(adapter)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
