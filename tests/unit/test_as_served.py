"""A model served in another precision is a version of its own: identity, names, lineage, slots."""

from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.errors import UsageError
from db.lineage.read import lineage
from db.models import ModelRow, declare_model, get_model, list_models
from db.settings import Settings, settings
from db.store.archive import archive
from db.tables import ModelVersion
from db.texts.facets import text_facets
from db.texts.matrix import MatrixFilter, matrix
from serving.engine.hardware import described_gpus
from serving.models import as_served as as_served_module
from serving.models.as_served import (
    VersionMissing,
    as_served,
    find_served,
    split_precision,
    stored_version,
)
from serving.sweeps.plan import plan_sweep
from serving.sweeps.run import SweepState
from serving.sweeps.spec import parse_spec
from tests.store_rows import make_library, make_question, make_variant
from tests.unit.sweep_lab import fill, registry_of, save, scalar
from tests.unit.test_serving_plan import folder

FP8 = "sha256:base:fp8"


@pytest.fixture
def models(database: Database) -> Database:
    """Return a store with a base, its adapter, its merge and an AWQ folder."""
    fill(database, 1, ())
    with database.write() as session:
        session.add(version("base"))
        session.flush()
        session.add_all([
            version("tuned", kind="adapter", base_id=1),
            version("merged", kind="merged", base_id=1),
            version("small", precision="awq"),
            ModelVersion(name="far", kind="declared", precision=None),
        ])  # fmt: skip
    return database


def version(name: str, **values: Any) -> ModelVersion:
    given = {
        "kind": "base",
        "precision": "bf16",
        "digest": f"sha256:{name}",
        "path": f"/models/{name}",
        **values,
    }
    return ModelVersion(name=name, context_length=512, tokenizer_hash="t" * 32, **given)


def find(database: Database, reference: str, **options: Any) -> ModelRow:
    with database.write() as session:
        return find_served(session, reference, settings(), **options)


def test_a_version_as_served_is_written_once_and_keeps_the_facts_of_the_stored_one(
    models: Database,
) -> None:
    made = find(models, "base@fp8")
    assert (made.name, made.digest, made.precision) == ("base@fp8", FP8, "fp8")
    assert (made.stored_id, made.path, made.context_length) == (1, "/models/base", 512)
    assert find(models, "base", precision="fp8") == find(models, "m6") == made
    assert find(models, "base@bf16").id == 1
    with models.read() as session:
        assert stored_version(session, made).name == "base"
        assert "base@fp8" not in [one.name for one in list_models(session)]
        assert "base@fp8" in [one.name for one in list_models(session, with_served=True)]


def test_an_adapter_in_fp8_stands_on_its_base_in_fp8(models: Database) -> None:
    tuned = find(models, "tuned@fp8")
    with models.read() as session:
        base = get_model(session, tuned.family_id)
    assert (base.name, tuned.family_id) == ("base@fp8", base.id)
    assert tuned.path == "/models/tuned"


def test_the_state_of_the_stored_version_is_that_of_what_is_served_of_it(models: Database) -> None:
    made = find(models, "merged@fp8")
    with models.write() as session:
        session.get_one(ModelVersion, 3).state = "pruned"
        assert get_model(session, made.id).state == "pruned"
        archive(session, "model", [3])
        assert get_model(session, made.id).archived_at is not None
        shown = list_models(session, with_served=True)
        assert not {"merged", "merged@fp8"} & {one.name for one in shown}


def test_a_session_that_reads_writes_no_version(models: Database) -> None:
    with models.read() as session, pytest.raises(VersionMissing, match="never served in fp8"):
        find_served(session, "base@fp8", settings())


@pytest.mark.parametrize(
    ("reference", "precision", "sentence"),
    [
        ("small@fp8", None, "small cannot be served in fp8: its weights are in awq"),
        ("far", "fp8", "far cannot be served in fp8: its weights are in a precision that its"),
        ("base", "awq", "base cannot be served in awq"),
        ("none@fp8", None, "There is no model 'none'"),
    ],
)
def test_what_cannot_be_quantised_is_refused(
    models: Database, reference: str, precision: Any, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        find(models, reference, precision=precision)


def test_settings_say_the_precision_where_nobody_else_does(models: Database) -> None:
    quantised = Settings(precision="fp8")
    with models.write() as session:
        assert find_served(session, "base", quantised).name == "base@fp8"
        assert find_served(session, "base@bf16", quantised).name == "base"
        assert find_served(session, "small", quantised).name == "small"
        assert find_served(session, "far", quantised).name == "far"


def test_a_server_by_url_can_be_said_to_serve_a_version_in_fp8(models: Database) -> None:
    made = find(models, "base@fp8")
    with models.write() as session:
        known = {"context_length": 512, "tokenizer_hash": None}
        same = declare_model(session, "x", "far", precision="fp8", equal_to="base@fp8", **known)
        other = declare_model(session, "x", "far", precision="fp8", **known)
    assert same.id == made.id
    assert (other.name, other.kind, other.precision) == ("x@fp8", "declared", "fp8")
    assert split_precision("x@fp8") == ("x", "fp8")
    assert split_precision("x@home") == ("x@home", None)


@pytest.mark.parametrize(
    ("gpus", "name"), [("1x24", "base@fp8"), ("2x24", "base@fp8"), ("1x80", "base")]
)
def test_a_bare_name_is_what_the_plan_serves_on_empty_gpus(
    models: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: str, name: str
) -> None:
    full = [one.model_copy(update={"free_gib": 1.0}) for one in described_gpus(gpus)]
    monkeypatch.setattr(as_served_module, "find_gpus", lambda: full)
    monkeypatch.setattr(as_served_module, "resolve_device", lambda _: "cuda")
    as_served_module._empty_gpus.cache_clear()
    with models.write() as session:
        session.get_one(ModelVersion, 1).path = str(folder(tmp_path, "phi-3-medium"))
    try:
        assert find(models, "base").name == name
        assert find(models, "tuned").name == name.replace("base", "tuned")
    finally:
        as_served_module._empty_gpus.cache_clear()


def test_on_a_cluster_a_bare_name_is_what_the_plan_serves_on_its_nodes(
    models: Database, tmp_path: Path
) -> None:
    with models.write() as session:
        session.get_one(ModelVersion, 1).path = str(folder(tmp_path, "phi-3-medium"))
        for nodes, name in (("1x24", "base@fp8"), ("1x80", "base")):
            settings = Settings(ray_address="10.0.0.1:6379", ray_gpus=nodes, device="cuda")
            assert find_served(session, "base", settings).name == name


def test_lineage_goes_from_the_quantised_version_to_the_stored_one_and_back(
    models: Database,
) -> None:
    made = find(models, "merged@fp8")
    with models.read() as session:
        up = {g.relation: [n.label for n in g.nodes] for g in lineage(session, f"m{made.id}").up}
        down = {g.relation: [n.label for n in g.nodes] for g in lineage(session, "m3").down}
    assert up["served_from"] == ["merged"]
    assert up["model_bases"] == ["base"]
    assert down["served_as"] == ["merged@fp8"]


def test_slots_in_another_precision_are_other_slots_and_old_ones_keep_their_keys(
    models: Database,
) -> None:
    sweep_id = save(models, models=["base", "base@fp8"], modes=["vanilla"], answers=1)
    names = SweepState(models, sweep_id, priority=0, retry_failed=False).model_names
    assert names[1] == "sha256:base"
    assert names[find(models, "base@fp8").id] == FP8


def test_precision_is_a_factor_of_a_sweep(models: Database) -> None:
    sweep_id = save(
        models, models=["base", "tuned"], precision=["bf16", "fp8"], modes=["vanilla"], answers=2
    )
    assert scalar(models, f"SELECT n_answer_slots FROM sweep WHERE id = {sweep_id}") == 8
    registry = registry_of(models)
    spec = parse_spec({
        "name": "lab", "models": ["base@fp8"], "precision": ["bf16", "fp8"], "modes": ["vanilla"],
    })  # fmt: skip
    with models.read() as session, pytest.raises(UsageError, match="base@fp8 says its precision"):
        plan_sweep(session, spec, registry)


def test_texts_are_filtered_by_the_precision_of_their_model(database: Database) -> None:
    with database.write() as session:
        make_library(session)
        stored = session.get_one(ModelVersion, 1)
        stored.precision = "bf16"
        session.flush()
        quantised = as_served(session, get_model(session, 1), "fp8").id
        question = make_question(session)
        for model_id, n in ((1, 2), (quantised, 1)):
            for i in range(n):
                text = f"You should look {model_id} {i}."
                make_variant(session, question, text, model_version_id=model_id)

    def shown(precision: str) -> list[int]:
        with database.read() as session:
            found = matrix(session, MatrixFilter(precisions=(precision,)))
        return [row.n_cells for row in found.rows]

    with database.read() as session:
        assert text_facets(session).precisions == {"bf16": 2, "fp8": 1}
    assert (shown("bf16"), shown("fp8"), shown("nf4")) == ([2], [1], [])
