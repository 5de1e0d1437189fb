"""The identity of weights: a digest of every tensor, independent of files, order and metadata."""

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.models.tensor_files import TensorPlace, tensor_places, weight_files


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor: equal digests mean equal values."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str
    """Of its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDigest:
    """The weights of a folder."""

    digest: str
    """``sha256:`` and 64 hexadecimal digits."""
    tensors: Mapping[str, TensorDigest]
    size_bytes: int
    """Of the weight files."""
    n_parameters: int
    dtype: str
    """The one that most values have, e.g. ``BF16``."""


class TensorCache(Protocol):
    """Remembers the digests of a file, as long as its size and time stay the same."""

    def get(self, path: Path, size: int, modified_ns: int) -> dict[str, TensorDigest] | None:
        """Return what was remembered of this state of the file."""

    def put(
        self, path: Path, size: int, modified_ns: int, tensors: dict[str, TensorDigest]
    ) -> None:
        """Remember the digests of this state of the file."""


def digest_folder(folder: Path, cache: TensorCache | None = None) -> FolderDigest:
    """Return the digest of the weights in ``folder``; files that ``cache`` knows are not read.

    Raises:
        ModelError: weights are missing, cut off, damaged, double or pickled.
    """
    files = weight_files(folder)
    places = tensor_places(files)
    tensors: dict[str, TensorDigest] = {}
    for path in files:
        tensors.update(_file_tensors(path.resolve(), places[path], cache))
    counts: dict[str, int] = {}
    for in_file in places.values():
        for place in in_file.values():
            counts[place.dtype] = counts.get(place.dtype, 0) + place.n_elements
    return FolderDigest(
        digest=combine(tensors),
        tensors=tensors,
        size_bytes=sum(path.stat().st_size for path in files),
        n_parameters=sum(counts.values()),
        dtype=max(counts, key=lambda dtype: counts[dtype], default=""),
    )


def combine(tensors: Mapping[str, TensorDigest]) -> str:
    """Return the digest of a set of tensors."""
    listed = [
        (name, tensor.dtype, list(tensor.shape), tensor.sha256)
        for name, tensor in sorted(tensors.items())
    ]
    return "sha256:" + hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def digest_adapter(tensors_digest: str, identity: str) -> str:
    """Return the digest of an adapter: equal tensors under other settings act otherwise.

    Args:
        tensors_digest: Of its tensors.
        identity: Its settings; see ``AdapterConfig.identity``.
    """
    listed = json.dumps([tensors_digest, identity])
    return "sha256:" + hashlib.sha256(listed.encode()).hexdigest()


def _file_tensors(
    path: Path, places: dict[str, TensorPlace], cache: TensorCache | None
) -> dict[str, TensorDigest]:
    state = path.stat()
    if cache is not None:
        known = cache.get(path, state.st_size, state.st_mtime_ns)
        if known is not None:
            return known
    tensors = _read_tensors(path, places)
    if cache is not None:
        cache.put(path, state.st_size, state.st_mtime_ns, tensors)
    return tensors


def _read_tensors(path: Path, places: dict[str, TensorPlace]) -> dict[str, TensorDigest]:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads,
    ):

        def one(place: TensorPlace) -> TensorDigest:
            with view[place.start : place.end] as part:  # hashing releases the interpreter lock
                return TensorDigest(place.dtype, place.shape, hashlib.sha256(part).hexdigest())

        return dict(zip(places, threads.map(one, places.values()), strict=True))
