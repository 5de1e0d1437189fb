"""An adapter folder as tensors, read from mapped files: what becomes of each weight of its base.

PEFT's own layers do the arithmetic. Imported by child processes only. Letters: r = rank; out, in =
the sides of a weight matrix.
"""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import Embedding, Linear
from safetensors import safe_open
from torch import nn

from serving.models.adapters import AdapterFolder, WeightChange, read_adapter
from serving.models.servable import token_indices
from serving.models.tensor_files import ModelError, TensorPlace, tensor_places, weight_files

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
"""The floats that a merge works on; other tensors are copied as they are."""


@dataclass(frozen=True, slots=True)
class MappedTensor:
    """A tensor that lies on disk, mapped into memory."""

    place: TensorPlace
    data: memoryview
    """Its bytes, read from disk when looked at."""

    def tensor(self, device: torch.device | str) -> torch.Tensor:
        """Return a copy on ``device``, in its own dtype and shape.

        Raises:
            ModelError: It is quantised.
        """
        dtype = DTYPES.get(self.place.dtype)
        if dtype is None:
            raise ModelError(
                "A tensor of dtype {dtype} is no 16-bit or 32-bit float.", dtype=self.place.dtype
            )
        flat = torch.frombuffer(bytearray(self.data), dtype=dtype)
        return flat.reshape(self.place.shape).to(device)


@contextmanager
def mapped_folder(folder: Path) -> Iterator[dict[str, MappedTensor]]:
    """Yield name → tensor for all weights of ``folder``; nothing is read yet."""
    with ExitStack() as stack:
        found: dict[str, MappedTensor] = {}
        for path, places in tensor_places(weight_files(folder)).items():
            view = stack.enter_context(mapped_file(path))
            for name, place in places.items():
                part = stack.enter_context(view[place.start : place.end])
                found[name] = MappedTensor(place, part)
        yield found


@contextmanager
def mapped_file(path: Path) -> Iterator[memoryview]:
    """Yield the bytes of a file, mapped for reading."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        yield view


_NAME = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorUpdate:
    """What an adapter makes of one tensor of its base."""

    change: WeightChange
    tensors: Mapping[str, torch.Tensor] = field(repr=False)
    """Of the whole adapter, float32."""
    config: LoraConfig = field(repr=False)
    alpha: float
    scale: float
    """alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA."""
    rows: tuple[int, ...] = ()
    """Trained tokens."""

    def merged(self, base: torch.Tensor) -> torch.Tensor:
        """Return ``base`` with the adapter in it, in its own dtype; it may be changed.

        B · A of a linear layer is added as PEFT does, in float32 with one rounding; all else is
        done in float32 and rounded once.
        """
        if self.change.is_plain:
            return self._with_product(base)
        weight = self._start(base).to(base.device)
        if self.change.a is not None:
            weight = self._with_product(weight)
        if self.change.bias is not None:
            weight = weight + self.tensors[self.change.bias].to(base.device) * self.scale
        if self.change.tokens is not None:
            weight[list(self.rows)] = self.tensors[self.change.tokens].to(base.device)
        return weight.to(base.dtype)

    def _start(self, base: torch.Tensor) -> torch.Tensor:
        saved = self.change.saved
        return base.float() if saved is None else self.tensors[saved].clone()

    def _with_product(self, weight: torch.Tensor) -> torch.Tensor:
        layer = self._embedding(weight) if self.change.is_embedding else self._linear(weight)
        with torch.no_grad():
            layer.merge()
        merged: torch.Tensor = layer.get_base_layer().weight.data
        return merged

    def _linear(self, weight: torch.Tensor) -> Linear:
        out, width = weight.shape
        host = nn.Linear(width, out, bias=False, device="meta")
        host.weight = nn.Parameter(weight, requires_grad=False)
        a, b = self._product(weight.device)
        alpha: Any = self.alpha  # PEFT says int, and takes what its settings hold
        layer = Linear(host, _NAME, self.config, r=a.shape[0], lora_alpha=alpha)
        layer.lora_A[_NAME].weight.data, layer.lora_B[_NAME].weight.data = a, b
        if self.change.magnitude is not None:
            length = self.tensors[self.change.magnitude].to(weight.device)
            layer.lora_magnitude_vector[_NAME].weight.data = length
        return layer

    def _embedding(self, weight: torch.Tensor) -> Embedding:
        host = nn.Embedding(*weight.shape, device="meta")
        host.weight = nn.Parameter(weight, requires_grad=False)
        a, b = self._product(weight.device)
        alpha: Any = self.alpha
        layer = Embedding(host, _NAME, self.config, r=a.shape[0], lora_alpha=alpha)
        layer.lora_embedding_A[_NAME].data, layer.lora_embedding_B[_NAME].data = a, b
        return layer

    def _product(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.change.a is not None
        assert self.change.b is not None
        return self.tensors[self.change.a].to(device), self.tensors[self.change.b].to(device)


def load_updates(adapter: Path) -> dict[str, TensorUpdate]:
    """Return name of a tensor of the base → what becomes of it.

    Raises:
        ModelError: The folder is no adapter that can be merged.
    """
    read = read_adapter(adapter)
    config = LoraConfig.from_pretrained(str(adapter))
    config.init_lora_weights = False
    config.lora_dropout = 0.0
    config.lora_bias = False  # added here, so that a layer needs no bias of its own
    tensors = load_tensors(adapter)
    return {
        name: TensorUpdate(
            change=change,
            tensors=tensors,
            config=config,
            alpha=read.config.alpha(change.module),
            scale=read.config.scale(change.module),
            rows=_rows(read, change),
        )
        for name, change in read.changes.items()
    }


def load_tensors(adapter: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of an adapter in float32."""
    (path,) = weight_files(adapter)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118


def _rows(read: AdapterFolder, change: WeightChange) -> tuple[int, ...]:
    return () if change.tokens is None else tuple(token_indices(read, change))
