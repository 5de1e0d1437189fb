"""Digests of weights, and what folders say of themselves."""

import json
import os
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from db.database import Database
from serving.models.folder import TensorDigest, digest_folder, inspect_folder
from serving.models.register import (
    StoredTensorCache,
)
from serving.models.tensor_files import INDEX, ModelError, read_header

Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]

WEIGHTS: Tensors = {
    "model.layers.0.self_attn.q_proj.weight": ("BF16", (4, 2), bytes(range(16))),
    "model.layers.0.mlp.up_proj.weight": ("BF16", (6, 2), bytes(range(24))),
    "model.norm.weight": ("F32", (2,), bytes(8)),
}


def write_safetensors(path: Path, tensors: Tensors, **metadata: str) -> None:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, (dtype, shape, data) in tensors.items():
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        body += data
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)


def make_model(folder: Path, tensors: Tensors = WEIGHTS, **config: Any) -> Path:
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", tensors)
    told = {"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16", "eos_token_id": 2}
    told |= {"max_position_embeddings": 2048} | config
    (folder / "config.json").write_text(json.dumps(told))
    return folder


def make_shards(folder: Path, tensors: Tensors, shards: list[list[str]]) -> Path:
    folder.mkdir(parents=True)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / file, {name: tensors[name] for name in names}, format="pt")
        weight_map |= dict.fromkeys(names, file)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return folder


def make_adapter(folder: Path, base: str, module: str, shape_a: Any, shape_b: Any) -> Path:
    folder.mkdir(parents=True)
    name = f"base_model.model.{module}"
    write_safetensors(
        folder / "adapter_model.safetensors",
        {
            f"{name}.lora_A.weight": ("F32", shape_a, bytes(4 * shape_a[0] * shape_a[1])),
            f"{name}.lora_B.weight": ("F32", shape_b, bytes(4 * shape_b[0] * shape_b[1])),
        },
    )
    told = {"base_model_name_or_path": base, "r": shape_a[0], "lora_alpha": 2 * shape_a[0]}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


# --- digests ---


def test_shards_order_and_metadata_make_no_difference(tmp_path: Path) -> None:
    whole = digest_folder(make_model(tmp_path / "whole"))
    names = list(WEIGHTS)
    sharded = digest_folder(make_shards(tmp_path / "a", WEIGHTS, [names[:1], names[1:]]))
    turned = digest_folder(make_shards(tmp_path / "b", WEIGHTS, [[names[2], names[0]], [names[1]]]))
    assert whole.digest == sharded.digest == turned.digest
    assert whole.digest.startswith("sha256:")
    assert whole.n_parameters == 22
    assert whole.dtype == "BF16"
    assert whole.size_bytes == (tmp_path / "whole" / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    "changed",
    [
        {"model.norm.weight": ("F32", (2,), b"\1" + bytes(7))},
        {"model.norm.weight": ("F32", (2, 1), bytes(8))},
        {"model.norm.weight": ("I32", (2,), bytes(8))},
        {"model.extra.weight": ("F32", (0,), b"")},
    ],
    ids=["a byte", "a shape", "a type", "one more"],
)
def test_any_change_of_a_tensor_changes_the_digest(tmp_path: Path, changed: Tensors) -> None:
    before = digest_folder(make_model(tmp_path / "before"))
    after = digest_folder(make_model(tmp_path / "after", {**WEIGHTS, **changed}))
    assert before.digest != after.digest


@given(seed=st.integers(0, 2**32), n_shards=st.integers(1, 3))
@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_however_tensors_are_spread_the_digest_stays(
    tmp_path: Path, seed: int, n_shards: int
) -> None:
    drawn = random.Random(seed)
    names = list(WEIGHTS)
    drawn.shuffle(names)
    shards = [names[i::n_shards] for i in range(n_shards)]
    folder = tmp_path / f"{seed}-{n_shards}-{len(list(tmp_path.iterdir()))}"
    spread = digest_folder(make_shards(folder, WEIGHTS, shards))
    if not (tmp_path / "whole").exists():
        make_model(tmp_path / "whole")
    assert spread.digest == digest_folder(tmp_path / "whole").digest


def test_the_hand_read_header_agrees_with_the_library(embedded_model: Path) -> None:
    from safetensors import safe_open

    path = embedded_model / "model.safetensors"
    places = read_header(path)
    with safe_open(path, framework="np") as file:
        assert set(places) == set(file.keys())
        for name in file.keys():  # noqa: SIM118 - not a mapping
            assert list(places[name].shape) == file.get_slice(name).get_shape()
            assert places[name].dtype == file.get_slice(name).get_dtype()


def break_file(folder: Path, *, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [(-1, "is cut off: it has"), (30, "is cut off"), (4, "no safetensors file"), (0, "no safe")],
)
def test_a_cut_file_is_named_with_its_size(tmp_path: Path, keep: int, sentence: str) -> None:
    folder = make_model(tmp_path / "m")
    break_file(folder, keep=keep)
    with pytest.raises(ModelError, match=sentence):
        digest_folder(folder)


def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", {"a.weight": ("F32", (3,), bytes(8))})
    with pytest.raises(ModelError, match="damaged"):
        digest_folder(folder)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"{{{{")
    with pytest.raises(ModelError, match="damaged"):
        digest_folder(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "m", WEIGHTS, [[name] for name in WEIGHTS])
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match=r"names model-00002-of-00003\.safetensors, which is miss"):
        digest_folder(folder)


def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    with pytest.raises(ModelError, match="outside its folder"):
        digest_folder(folder)


def test_one_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    write_safetensors(folder / "a.safetensors", WEIGHTS)
    write_safetensors(folder / "b.safetensors", WEIGHTS)
    with pytest.raises(ModelError, match=r"is in a\.safetensors and in b\.safetensors"):
        digest_folder(folder)


def test_pickled_or_absent_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no safetensors"):
        digest_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="Convert them to safetensors"):
        digest_folder(tmp_path)
    with pytest.raises(ModelError, match="is no folder"):
        digest_folder(tmp_path / "nowhere")


class CountingCache:
    def __init__(self) -> None:
        self.kept: dict[tuple[Path, int, int], dict[str, TensorDigest]] = {}
        self.hits = 0

    def get(self, path: Path, size: int, modified_ns: int) -> dict[str, TensorDigest] | None:
        found = self.kept.get((path, size, modified_ns))
        self.hits += found is not None
        return found

    def put(
        self, path: Path, size: int, modified_ns: int, tensors: dict[str, TensorDigest]
    ) -> None:
        self.kept[path, size, modified_ns] = tensors


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    cache = CountingCache()
    first = digest_folder(folder, cache)
    assert digest_folder(folder, cache) == first
    assert cache.hits == 1
    changed = {**WEIGHTS, "model.norm.weight": ("F32", (2,), b"\1" * 8)}
    write_safetensors(folder / "model.safetensors", changed)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert digest_folder(folder, cache).digest != first.digest
    assert cache.hits == 1


def test_the_stored_cache_gives_back_what_it_was_given(tmp_path: Path, database: Database) -> None:
    cache = StoredTensorCache(database)
    tensors = {"a": TensorDigest("F32", (2, 3), "00")}
    path = tmp_path / "f"
    assert cache.get(path, 5, 6) is None
    cache.put(path, 5, 6, tensors)
    assert cache.get(path, 5, 6) == tensors
    assert cache.get(path, 5, 7) is None
    cache.put(path, 5, 7, {})
    assert cache.get(path, 5, 7) == {}


# --- what folders say ---


def test_facts_come_from_the_files(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", eos_token_id=[2, 7])
    (folder / "generation_config.json").write_text('{"eos_token_id": [9, 2]}')
    facts = inspect_folder(folder)
    assert facts.kind == "base"
    assert facts.architecture == "LlamaForCausalLM"
    assert facts.context_length == 2048
    assert facts.stop_token_ids == (9, 2, 7)
    assert facts.n_parameters == 22
    assert facts.tokenizer_hash is None


def test_the_embedded_model_tells_its_tokens(embedded_model: Path) -> None:
    facts = inspect_folder(embedded_model)
    assert (facts.bos_token_id, facts.stop_token_ids, facts.context_length) == (1, (2,), 8192)
    assert facts.tokenizer_hash is not None
    assert facts.n_parameters == 134_515_008


def test_adapters_and_merged_folders_name_their_base(tmp_path: Path) -> None:
    module = "model.layers.0.self_attn.q_proj"
    adapter = inspect_folder(make_adapter(tmp_path / "a", "/models/base", module, (8, 2), (4, 8)))
    assert (adapter.kind, adapter.base, adapter.rank) == ("adapter", "/models/base", 8)
    merged = make_model(tmp_path / "m")
    (merged / "manifest.json").write_text('{"kind": "merged", "base": "small"}')
    assert (inspect_folder(merged).kind, inspect_folder(merged).base) == ("merged", "small")


def test_a_folder_without_config_or_with_a_broken_one_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    (folder / "config.json").write_text("{broken")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        inspect_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        inspect_folder(folder)


def test_odd_configs_are_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    for architectures in ([], [None], "Phi3ForCausalLM", None):
        config.write_text(json.dumps({"architectures": architectures}))
        assert inspect_folder(tmp_path).architecture is None
    config.write_text("[" * 100_000)
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        inspect_folder(tmp_path)
