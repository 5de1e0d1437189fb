"""Digests of weights, what folders say of themselves, and adding models to the store."""

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
from db.errors import UsageError
from db.models import ModelRow, list_models
from db.settings import Settings
from db.tables import ModelVersion
from serving.models.adapters import check_fit
from serving.models.folder import TensorDigest, digest_folder, inspect_folder
from serving.models.register import (
    StoredTensorCache,
    add_model,
    default_name,
    ensure_default_model,
    is_hub_id,
)
from serving.models.servable import server_spec
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


# --- adding ---


def test_a_folder_is_added_once_however_often_it_is_given(
    tmp_path: Path, database: Database
) -> None:
    folder = make_model(tmp_path / "Small Model")
    first = add_model(database, str(folder))
    assert first.is_new
    assert (first.model.name, first.model.kind) == ("small-model", "base")
    assert first.model.stop_token_ids == (2,)
    again = add_model(database, str(folder), name="other")
    assert not again.is_new
    assert again.model == first.model
    assert "known as small-model" in again.message
    with database.read() as session:
        assert len(list_models(session)) == 1


def test_a_name_stands_for_one_model(tmp_path: Path, database: Database) -> None:
    add_model(database, str(make_model(tmp_path / "one")), name="m")
    other = {**WEIGHTS, "model.norm.weight": ("F32", (2,), b"\1" * 8)}
    with pytest.raises(ModelError, match="called m already"):
        add_model(database, str(make_model(tmp_path / "two", other)), name="m")
    with pytest.raises(ModelError, match="is no name"):
        add_model(database, str(tmp_path / "two"), name="two words")


def test_moved_weights_take_their_new_place(tmp_path: Path, database: Database) -> None:
    folder = make_model(tmp_path / "old")
    first = add_model(database, str(folder)).model
    folder.rename(tmp_path / "new")
    with database.write() as session:
        session.get_one(ModelVersion, first.id).state = "removed"
    again = add_model(database, str(tmp_path / "new"))
    assert again.model.id == first.id
    assert (again.model.path, again.model.state) == (str(tmp_path / "new"), "ready")


def base_and_adapter(
    tmp_path: Path, database: Database, module: str, **shapes: Any
) -> tuple[ModelRow, Path]:
    base = add_model(database, str(make_model(tmp_path / "base"))).model
    assert base.path is not None
    given = {"shape_a": (8, 2), "shape_b": (4, 8)} | shapes
    return base, make_adapter(tmp_path / "adapter", base.path, module, **given)


def test_an_adapter_finds_its_base_by_path(tmp_path: Path, database: Database) -> None:
    base, adapter = base_and_adapter(tmp_path, database, "model.layers.0.self_attn.q_proj")
    added = add_model(database, str(adapter), name="round1").model
    assert (added.kind, added.base_id, added.context_length) == ("adapter", base.id, 2048)
    assert added.stop_token_ids == base.stop_token_ids


def test_an_adapter_trained_in_4_bit_finds_the_16_bit_build(
    tmp_path: Path, database: Database
) -> None:
    base = add_model(database, str(make_model(tmp_path / "base"))).model
    adapter = make_adapter(
        tmp_path / "a", "owner/Base-bnb-4bit", "model.layers.0.mlp.up_proj", (8, 2), (6, 8)
    )
    assert add_model(database, str(adapter)).model.base_id == base.id


def test_an_adapter_of_an_unknown_base_says_what_to_add(tmp_path: Path, database: Database) -> None:
    module = "model.layers.0.self_attn.q_proj"
    adapter = make_adapter(tmp_path / "a", "owner/other", module, (8, 2), (4, 8))
    with pytest.raises(ModelError, match="belongs to owner/other, which is not in the store"):
        add_model(database, str(adapter))
    with pytest.raises(UsageError, match="There is no model 'nobody'"):
        add_model(database, str(adapter), base="nobody")
    base = add_model(database, str(make_model(tmp_path / "base"))).model
    assert add_model(database, str(adapter), base="base").model.base_id == base.id


def test_an_adapter_for_fused_weights_does_not_fit_split_ones(
    tmp_path: Path, database: Database
) -> None:
    _, adapter = base_and_adapter(tmp_path, database, "model.layers.0.self_attn.qkv_proj")
    with pytest.raises(ModelError, match=r"changes .*qkv_proj, which .* \(it has q_proj\)"):
        add_model(database, str(adapter))


@pytest.mark.parametrize("shapes", [{"shape_a": (8, 3)}, {"shape_b": (5, 8)}])
def test_an_adapter_of_another_size_does_not_fit(
    tmp_path: Path, database: Database, shapes: dict[str, Any]
) -> None:
    module = "model.layers.0.self_attn.q_proj"
    base, adapter = base_and_adapter(tmp_path, database, module, **shapes)
    assert base.path is not None
    with pytest.raises(ModelError, match="of another size"):
        check_fit(adapter, Path(base.path))


def test_what_is_neither_folder_nor_hub_id_says_so(database: Database) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a hub id"):
        add_model(database, "/no/such/folder")
    assert is_hub_id("owner/name")
    assert not is_hub_id("owner/name/more")
    assert default_name("Owner/Some Name@abc") == "some-name"


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="not cached here and the hub cannot be reached"):
        add_model(database, "nobody/nothing")


def test_the_default_on_a_laptop_is_the_embedded_model(
    database: Database, embedded_model: Path
) -> None:
    settings = Settings(device="cpu")
    model = ensure_default_model(database, settings)
    assert (model.name, model.path) == ("smollm2-135m-instruct", str(embedded_model))
    assert model.note is not None
    assert "quality" in model.note
    assert ensure_default_model(database, settings) == model


def test_the_model_of_the_settings_is_the_default(tmp_path: Path, database: Database) -> None:
    folder = make_model(tmp_path / "mine")
    settings = Settings(device="cpu", model=str(folder))
    model = ensure_default_model(database, settings)
    assert model.name == "mine"
    assert ensure_default_model(database, settings) == model
    assert ensure_default_model(database, Settings(device="cpu", model="mine")) == model


def test_rows_become_what_a_server_serves(tmp_path: Path, database: Database) -> None:
    base, folder = base_and_adapter(tmp_path, database, "model.layers.0.self_attn.q_proj")
    adapter = add_model(database, str(folder), name="round1").model
    spec = server_spec(base, Settings(device="cpu"), [adapter])
    assert (spec.served_name, spec.context_length, spec.device) == ("base", 2048, "cpu")
    assert [(a.name, a.path, a.rank) for a in spec.adapters] == [("round1", folder, 8)]
    with pytest.raises(ModelError, match="does not belong"):
        server_spec(adapter, Settings(device="cpu"), [adapter])
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="is gone"):
        server_spec(base, Settings(device="cpu"), [adapter])
