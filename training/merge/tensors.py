"""Tensors read straight from mapped safetensors files, one at a time; for child processes only."""

import mmap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

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
            raise ModelError(f"A tensor of dtype {self.place.dtype} is no 16-bit or 32-bit float.")
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
