"""Adapters of every kind: what they are, whether they are served, and whether they can be merged.

The adapters are PEFT's own, made and merged once in a process of its own (``adapter_lab``).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from db.database import Database
from db.models import get_model, list_models
from db.settings import Settings
from db.tables import ModelVersion
from serving.models.adapters import AdapterConfig, read_adapter
from serving.models.folder import digest_folder
from serving.models.register import add_model
from serving.models.servable import server_spec, why_not_merged, why_not_served
from serving.models.tensor_files import ModelError
from workbench.jobs.local import note_refused, servable

ROOT = Path(__file__).parents[2]
SERVED = ("plain", "float-alpha", "rank-stabilised", "patterns", "embeddings")
MERGED_ONLY = {
    "whole-weights": "lm_head, model.embed_tokens (modules_to_save)",
    "norms": "norm (modules_to_save)",
    "dora": "it uses DoRA",
    "biases": "it trains biases",
    "lora-bias": "it trains biases",
    "tokens": "it trains single tokens",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base, adapters of each kind and their merges."""
    folder = tmp_path_factory.mktemp("adapters")
    program = [sys.executable, "-m", "tests.unit.adapter_lab", str(folder)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def found(lab: Path) -> Mapping[str, Mapping[str, float]]:
    """What came of each merge."""
    told: Mapping[str, Mapping[str, float]] = json.loads((lab / "found.json").read_text("utf-8"))
    return told


@pytest.mark.parametrize("kind", [*SERVED, *MERGED_ONLY])
def test_a_merge_is_pefts_own_and_the_proofs_reference_agrees(
    kind: str, found: Mapping[str, Mapping[str, float]]
) -> None:
    assert found[kind]["difference"] < 2**-7, "PEFT's merge in float32, rounded once to bfloat16"
    assert found[kind]["half_steps"] <= 1


def test_a_wrong_scale_fails_the_proof(found: Mapping[str, Mapping[str, float]]) -> None:
    assert found["float-alpha"]["as_12"] > 2, "merged with 12.5, and the adapter says 12"


@pytest.mark.parametrize("kind", SERVED)
def test_what_vllm_serves_is_ready(kind: str, lab: Path, database: Database) -> None:
    add_model(database, str(lab / "base"))
    added = add_model(database, str(lab / kind), base="base")
    assert (added.model.state, added.model.note) == ("ready", None)


@pytest.mark.parametrize("kind", MERGED_ONLY)
def test_what_vllm_cannot_serve_is_said_when_added_and_can_be_merged(
    kind: str, lab: Path, database: Database
) -> None:
    base = add_model(database, str(lab / "base")).model
    added = add_model(database, str(lab / kind), base="base", name="other")
    assert added.is_new
    assert added.model.state == "unusable"
    assert MERGED_ONLY[kind].split(", ")[-1] in added.message
    assert "Merge it with `q2q merge other`" in added.message
    assert added.model.note is not None
    assert why_not_merged(read_adapter(lab / kind), lab / "base") is None
    assert server_spec(base, Settings(device="cpu"), servable(database, [])).adapters == ()


def test_the_rank_comes_from_the_tensors(lab: Path, database: Database) -> None:
    base = add_model(database, str(lab / "base")).model
    adapter = add_model(database, str(lab / "patterns"), base="base").model
    spec = server_spec(base, Settings(device="cpu"), [adapter])
    assert [one.rank for one in spec.adapters] == [24]


def test_an_adapter_of_before_never_keeps_its_base_from_starting(
    lab: Path, database: Database
) -> None:
    """Rows written before this was looked at say ready."""
    add_model(database, str(lab / "base"))
    for name in ("plain", "dora", "whole-weights"):
        add_model(database, str(lab / name), base="base")
    damaged = Path(shutil.copytree(lab / "float-alpha", lab / "damaged"))
    add_model(database, str(damaged), base="base")
    (damaged / "adapter_config.json").write_text('{"r": "four"}')
    with database.write() as session:
        for row in session.query(ModelVersion):
            row.state, row.note = "ready", None
    with database.read() as session:
        adapters = [model for model in list_models(session) if model.kind == "adapter"]
    assert [model.name for model in servable(database, adapters)] == ["plain"]
    with database.read() as session:
        told = {model.name: model for model in list_models(session)}
    assert told["dora"].state == told["damaged"].state == "unusable"
    assert "it uses DoRA. Merge it" in (told["dora"].note or "")
    assert "adapter_config.json: r is wrong" in (told["damaged"].note or "")


def test_an_adapter_that_the_server_refused_is_left_out_until_it_is_added_again(
    lab: Path, database: Database
) -> None:
    base = add_model(database, str(lab / "base")).model
    adapter = add_model(database, str(lab / "plain"), base="base").model
    note_refused(database, [base, adapter], {"plain": "no such module", "base": "never"})
    with database.read() as session:
        told = get_model(session, adapter.id)
        assert get_model(session, base.id).state == "ready"
    assert told.state == "unusable"
    assert told.note is not None
    assert told.note.startswith("vLLM refused it (no such module). Merge it with `q2q merge plain`")
    again = add_model(database, str(lab / "plain"), base="base").model
    assert (again.id, again.state, again.note) == (adapter.id, "ready", None)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("tied-head", "cannot be served: it holds whole weights of lm_head .* one tensor for"),
        ("pissa", "it was begun with pissa, which changes the base itself"),
    ],
)
def test_what_can_be_neither_served_nor_merged_is_refused(
    kind: str, why: str, lab: Path, database: Database
) -> None:
    add_model(database, str(lab / "tied"))
    with pytest.raises(ModelError, match=why):
        add_model(database, str(lab / kind), base="tied")
    with database.read() as session:
        assert [model.name for model in list_models(session)] == ["tied"]


def test_trained_tokens_are_merged_into_shared_embeddings(lab: Path) -> None:
    assert why_not_merged(read_adapter(lab / "tied-tokens"), lab / "tied") is None


def rewritten(source: Path, target: Path, **settings: object) -> Path:
    """Copy an adapter under other settings."""
    shutil.copytree(source, target)
    path = target / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")
    return target


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"lora_alpha": 8.5},
        {"alpha_pattern": {"up_proj": 16}},
        {"fan_in_fan_out": True},
    ],
)
def test_equal_tensors_under_another_scale_are_another_model(
    settings: dict[str, object], lab: Path, database: Database, tmp_path: Path
) -> None:
    add_model(database, str(lab / "base"))
    first = add_model(database, str(lab / "plain"), base="base").model
    other = add_model(
        database, str(rewritten(lab / "plain", tmp_path / "other", **settings)), base="base"
    )
    assert other.is_new
    assert other.model.digest != first.digest
    assert not add_model(database, str(tmp_path / "other"), base="base").is_new


def test_what_does_not_act_on_the_tensors_makes_no_other_model(
    lab: Path, database: Database, tmp_path: Path
) -> None:
    add_model(database, str(lab / "base"))
    first = add_model(database, str(lab / "plain"), base="base").model
    same = rewritten(
        lab / "plain", tmp_path / "same", lora_dropout=0.1, lora_alpha=8.0, new_in_peft_9=None
    )
    assert add_model(database, str(same), base="base").model.id == first.id


def test_an_adapter_of_an_old_store_is_found_again(
    lab: Path, database: Database, tmp_path: Path
) -> None:
    """Before, the digest of an adapter was that of its tensors alone."""
    add_model(database, str(lab / "base"))
    folder = rewritten(lab / "plain", tmp_path / "old")
    first = add_model(database, str(folder), base="base").model
    old = digest_folder(folder).digest
    with database.write() as session:
        session.get_one(ModelVersion, first.id).digest = old
    assert add_model(database, str(lab / "plain"), base="base").model.id == first.id
    other = rewritten(lab / "plain", tmp_path / "other", use_rslora=True)
    assert add_model(database, str(other), base="base").is_new
    folder.rename(tmp_path / "moved")
    moved = add_model(database, str(tmp_path / "moved"), base="base")
    assert (moved.model.id, moved.model.digest) == (first.id, old)


def test_settings_that_contradict_the_tensors_are_refused(lab: Path, tmp_path: Path) -> None:
    wrong = rewritten(lab / "plain", tmp_path / "wrong", rank_pattern={"up_proj": 24})
    with pytest.raises(ModelError, match="the rank 24, and its tensors have 4"):
        read_adapter(wrong)


@pytest.mark.parametrize("kind", [*SERVED, *MERGED_ONLY])
def test_our_rules_are_vllms(kind: str, lab: Path) -> None:
    """vLLM's own check of settings refuses nothing that is called servable here."""
    helper = pytest.importorskip("vllm.lora.peft_helper").PEFTHelper
    folder = lab / kind
    problems = helper.from_local_dir(str(folder), 64)._validate_features()
    bias = AdapterConfig.load(folder).bias != "none"
    is_refused = bool(problems) or bias or kind in ("norms", "tokens")
    assert (why_not_served(read_adapter(folder)) is not None) == is_refused
