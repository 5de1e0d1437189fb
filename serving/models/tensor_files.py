"""Safetensors files read by hand: which belong to a folder, and what their headers say.

Knows no torch. A file is 8 bytes of length, a JSON header of that length, and the tensors' bytes.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.errors import UsageError


class ModelError(UsageError):
    """A model folder or hub id cannot be used; the sentence says why and what to do."""


INDEX = "model.safetensors.index.json"
_LENGTH_BYTES = 8
_MAX_HEADER = 100_000_000
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies in its file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    """Bytes from the beginning of the file; ``end`` is not included."""

    @property
    def n_elements(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorPlace]:
    """Return name → place of every tensor in ``path``.

    Raises:
        ModelError: it is no safetensors file, or a part of it is missing.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or not 2 <= length <= _MAX_HEADER:
            raise ModelError("{path} is no safetensors file. Fetch it again.", path=path)
        raw = file.read(length)
    if len(raw) < length:
        raise _truncated(path, _LENGTH_BYTES + length, size)
    try:
        header = json.loads(raw)
        places = {
            name: _place(entry, _LENGTH_BYTES + length)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            "The header of {path} is damaged ({error}). Fetch it again.", path=path, error=error
        ) from error
    end = max((place.end for place in places.values()), default=0)
    if end > size:
        raise _truncated(path, end, size)
    return places


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold the folder's weights, sorted.

    An index decides, if there is one: folders from the hub may hold the same weights twice.

    Raises:
        ModelError: there are none, or the index names one that is missing.
    """
    if not folder.is_dir():
        raise ModelError(
            "{folder} is no folder. Give the folder that holds config.json.", folder=folder
        )
    index = folder / INDEX
    if index.is_file():
        return _indexed(folder, index)
    for name in ("adapter_model.safetensors", "model.safetensors"):
        if (folder / name).is_file():
            return [folder / name]
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    pickles = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
    if pickles:
        raise ModelError(
            "{folder} holds pickled weights ({pickles_name}), which can run code when loaded. "
            "Convert them to safetensors first (save_pretrained does).",
            folder=folder,
            pickles_name=pickles[0].name,
        )
    raise ModelError(
        "{folder} holds no safetensors file. Give the folder of a model's weights.", folder=folder
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``; an empty one if the file does not exist.

    Raises:
        ModelError: it holds anything else.
    """
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(
            "{path} cannot be read ({error}). Fetch it again.", path=path, error=error
        ) from error
    if not isinstance(parsed, dict):
        raise ModelError("{path} holds no JSON object. Fetch it again.", path=path)
    return parsed


def tensor_places(files: Sequence[Path]) -> dict[Path, dict[str, TensorPlace]]:
    """Return file → its tensors.

    Raises:
        ModelError: two files hold a tensor of one name.
    """
    found: dict[Path, dict[str, TensorPlace]] = {}
    owner: dict[str, Path] = {}
    for path in files:
        found[path] = read_header(path)
        for name in found[path]:
            if name in owner:
                raise ModelError(
                    "Tensor {name} is in {owner_name} and in {path_name}. "
                    "Remove the file that does not belong to the model.",
                    name=name,
                    owner_name=owner[name].name,
                    path_name=path.name,
                )
            owner[name] = path
    return found


def _indexed(folder: Path, index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError("{index} names no weights. Fetch it again.", index=index)
    files = sorted({folder / str(name) for name in weight_map.values()})
    for path in files:
        if path.parent != folder:
            raise ModelError(
                "{index} names a file outside its folder: {path}.", index=index, path=path
            )
        if not path.is_file():
            raise ModelError(
                "{index_name} names {path_name}, which is missing in {folder}. Fetch it again.",
                index_name=index.name,
                path_name=path.name,
                folder=folder,
            )
    return files


def _place(entry: dict[str, Any], data_start: int) -> TensorPlace:
    start, end = (int(offset) for offset in entry["data_offsets"])
    dtype = str(entry["dtype"])
    place = TensorPlace(
        dtype=dtype,
        shape=tuple(int(size) for size in entry["shape"]),
        start=data_start + start,
        end=data_start + end,
    )
    bits = _BITS.get(dtype)
    if start < 0 or end < start or (bits and (end - start) * 8 != place.n_elements * bits):
        raise ValueError("a tensor's place does not fit its shape")
    return place


def _truncated(path: Path, wanted: int, size: int) -> ModelError:
    return ModelError(
        "{path} is cut off: it has {size} of {wanted} bytes. Fetch it again.",
        path=path,
        size=size,
        wanted=wanted,
    )
