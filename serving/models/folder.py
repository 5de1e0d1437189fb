"""What a model folder says of itself: its JSON files and tokenizer; imports no model library."""

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from db.identity import AS_STORED, Precision
from serving.formats.tokenizer import PromptTokenizer
from serving.models.adapters import read_adapter
from serving.models.tensor_files import (
    ModelError,
    TensorPlace,
    read_json,
    tensor_places,
    weight_files,
)

Kind = Literal["base", "adapter", "merged"]
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a folder holds. For an adapter, tokenizer and context are those saved beside it."""

    kind: Kind
    architecture: str | None
    dtype: str | None
    """As in config.json, e.g. ``bfloat16``."""
    precision: Precision | None
    """In which the files hold the weights; None where it has no name here."""
    n_parameters: int
    context_length: int | None
    """Tokens of prompt and completion together."""
    bos_token_id: int | None
    stop_token_ids: tuple[int, ...]
    """Every id that the model's files name as an end, in that order."""
    tokenizer_hash: str | None
    """See ``serving.formats.tokenizer.PromptTokenizer.content_hash``."""
    base: str | None = None
    """Path or name of the base that an adapter or merged folder names."""
    rank: int | None = None
    """The largest of an adapter's tensors."""


def inspect_folder(folder: Path) -> ModelFacts:
    """Return the facts of the model in ``folder``.

    Raises:
        ModelError: it is no model folder, or a file of it cannot be read.
    """
    files = weight_files(folder)
    adapter = read_json(folder / "adapter_config.json")
    config = read_json(folder / "config.json")
    if not adapter and not config:
        raise ModelError(
            "{folder} has no config.json. Give the folder of a whole model.", folder=folder
        )
    n_parameters = sum(
        place.n_elements for places in tensor_places(files).values() for place in places.values()
    )
    manifest = read_json(folder / "manifest.json")
    stated = config.get("architectures")
    architectures = stated if isinstance(stated, list) else []
    nested = config.get("text_config")
    text_config = {**config, **nested} if isinstance(nested, dict) else config
    tokenizer = PromptTokenizer.load(folder) if (folder / "tokenizer.json").is_file() else None
    return ModelFacts(
        kind=_kind(adapter, manifest),
        architecture=_text(next(iter(architectures), None)),
        dtype=_text(text_config.get("dtype") or text_config.get("torch_dtype")),
        precision=stored_precision(config),
        n_parameters=n_parameters,
        context_length=next(
            (value for key in _CONTEXT_KEYS if (value := _int(text_config.get(key)))), None
        ),
        bos_token_id=tokenizer.bos_token_id if tokenizer else None,
        stop_token_ids=_stops(folder, text_config, tokenizer),
        tokenizer_hash=tokenizer.content_hash if tokenizer else None,
        base=_text(adapter.get("base_model_name_or_path") or manifest.get("base")),
        rank=read_adapter(folder).rank if adapter else None,
    )


_STORED_AS: Mapping[str, Precision] = {
    "awq": "awq",
    "bitsandbytes": "nf4",
    "fp8": "fp8",
    "gptq": "gptq",
}
"""``quant_method`` of config.json → precision."""


def stored_precision(config: Mapping[str, Any]) -> Precision | None:
    """Return the precision that config.json says its folder holds; None where it has no name."""
    quantised = config.get("quantization_config")
    if not isinstance(quantised, dict):
        return AS_STORED
    return _STORED_AS.get(str(quantised.get("quant_method")))


def _kind(adapter: dict[str, Any], manifest: dict[str, Any]) -> Kind:
    if adapter:
        return "adapter"
    return "merged" if manifest.get("kind") == "merged" else "base"


def _stops(
    folder: Path, config: dict[str, Any], tokenizer: PromptTokenizer | None
) -> tuple[int, ...]:
    named: list[object] = []
    for source in (read_json(folder / "generation_config.json"), config):
        ids = source.get("eos_token_id")
        named += ids if isinstance(ids, list) else [ids]
    named.append(tokenizer.eos_token_id if tokenizer else None)
    return tuple(dict.fromkeys(token for one in named if (token := _int(one)) is not None))


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


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
