"""Models are added to the store once, by folder or hub id, each with the base that it fits."""

from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.errors import UsageError
from db.models import ModelRow, list_models
from db.settings import Settings
from db.tables import ModelVersion
from serving.models.adapters import check_fit
from serving.models.hub import is_hub_id
from serving.models.register import (
    add_model,
    default_name,
    ensure_default_model,
)
from serving.models.servable import server_spec
from serving.models.tensor_files import ModelError
from tests.unit.test_digest import WEIGHTS, make_adapter, make_model


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
