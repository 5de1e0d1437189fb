"""Child process: write the base's weight files again with the adapter in them.

Each file keeps its name, header, order, dtypes and shapes, so that nothing but the values of the
targeted weights can change. One tensor a thread is in memory at a time, whatever the model's size.
"""

import errno
import hashlib
import os
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from db.child_process import send, serve
from serving.models.folder import TensorDigest, combine
from serving.models.tensor_files import (
    ModelError,
    TensorPlace,
    read_header,
    tensor_places,
    weight_files,
)
from training.merge.folder import disk_full
from training.merge.lora import MappedTensor, TensorUpdate, load_updates, mapped_file

_CPU_THREADS, _CUDA_THREADS = 2, 8
_PIECE = 64 * 2**20
"""Bytes written at a time."""


class Writer:
    """Writes merged files; ``write_file`` for each, then ``digest``."""

    def __init__(self, updates: Mapping[str, TensorUpdate], device: str, total: int) -> None:
        self._updates = updates
        self._device = device
        self._total = total
        self._written = 0
        self._lock = threading.Lock()
        self._tensors: dict[str, TensorDigest] = {}
        self._threads = _CUDA_THREADS if device == "cuda" else _CPU_THREADS

    @property
    def digest(self) -> str:
        """The digest of all tensors as they were written."""
        return combine(self._tensors)

    def write_file(self, source: Path, target: Path) -> None:
        """Write ``source`` to ``target`` with the adapter in it.

        Raises:
            OSError: The disk is full, said before anything is written.
        """
        places = read_header(source)
        size = source.stat().st_size
        with mapped_file(source) as view, target.open("wb") as file:
            handle = file.fileno()
            os.posix_fallocate(handle, 0, size)
            header = min((place.start for place in places.values()), default=size)
            _write_all(handle, view[:header], 0)

            def one(name: str) -> None:
                place = places[name]
                with view[place.start : place.end] as data:
                    self._write_tensor(handle, name, MappedTensor(place, data))

            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(one, places))
            os.fsync(handle)

    def _write_tensor(self, handle: int, name: str, source: MappedTensor) -> None:
        update = self._updates.get(name)
        place = source.place
        data = source.data if update is None else _merged_bytes(update, source, self._device)
        digest = TensorDigest(place.dtype, place.shape, hashlib.sha256(data).hexdigest())
        _write_all(handle, data, place.start)
        with self._lock:
            self._tensors[name] = digest
            self._written += place.end - place.start
            send(
                done=self._written // 10**6,
                total=self._total // 10**6,
                message="Writing merged weights (MB).",
            )


def _merged_bytes(update: TensorUpdate, source: MappedTensor, device: str) -> memoryview:
    merged = update.merged(source.tensor(device))
    return memoryview(merged.contiguous().cpu().view(torch.uint8).reshape(-1).numpy())


def _write_all(handle: int, data: memoryview, start: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done : done + _PIECE], start + done)


def write_weights(spec: dict[str, Any]) -> dict[str, Any]:
    """Write merged weights. Spec: ``base``, ``adapter``, ``target`` (folders) and ``device``."""
    base, target = Path(spec["base"]), Path(spec["target"])
    updates = load_updates(Path(spec["adapter"]))
    files = weight_files(base)
    _check_targets(updates, tensor_places(files))
    total = sum(path.stat().st_size for path in files)
    writer = Writer(updates, spec["device"], total)
    try:
        for path in files:
            writer.write_file(path, target / path.name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(Path(spec["wanted"])) from error
        raise
    return {"digest": writer.digest, "tensors": sorted(updates)}


def _check_targets(
    updates: Mapping[str, TensorUpdate], places: Mapping[Path, Mapping[str, TensorPlace]]
) -> None:
    known = {name for in_file in places.values() for name in in_file}
    missing = next((name for name in updates if name not in known), None)
    if missing is not None:
        raise ModelError(
            "The base has no tensor {missing}, which the adapter changes.", missing=missing
        )


if __name__ == "__main__":
    sys.exit(serve(write_weights))
