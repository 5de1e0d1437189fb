"""A merge is proved before it is used: a good one passes, and each way to break one is caught."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.cancelling import Cancelled
from db.database import Database, open_database
from db.errors import Q2QError
from db.lineage.read import lineage
from db.models import ModelRow, ProofRow, get_model, mark_pruned, proof_of
from db.settings import Settings
from serving.models.adapters import read_adapter
from serving.models.register import add_model
from serving.models.servable import server_spec
from serving.models.tensor_files import read_header
from tests.unit.merge_lab import first_layers
from training.merge import folder
from training.merge.merge import drop_weights, merge_adapter
from training.merge.proof import _weight_checks, prove
from training.merge.proof_files import check_complete, check_files, check_stop_ids, check_targets

ROOT = Path(__file__).parents[2]
MODULE = "model.layers.3.mlp.up_proj"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A store with a base, an adapter and its proved merge."""

    home: Path
    settings: Settings
    base: ModelRow
    adapter: ModelRow
    merged: ModelRow
    proof: ProofRow

    @property
    def folder(self) -> Path:
        assert self.merged.path is not None
        return Path(self.merged.path)


def quiet(done: int, total: int | None, message: str) -> None:
    """Show nothing."""


def torch_work(*arguments: object) -> int:
    """Run a command of ``tests.unit.merge_lab`` and return its exit code."""
    program = [sys.executable, "-m", "tests.unit.merge_lab", *map(str, arguments)]
    return subprocess.run(program, cwd=ROOT, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path, embedded_model: Path) -> Lab:
    """The proved merge that all tests copy from."""
    home = tmp_path_factory.mktemp("merge")
    settings = Settings(home=home, device="cpu")
    shutil.copy(migrated_file, home / "q2q.sqlite")
    folder = first_layers(embedded_model, home / "base")
    assert torch_work("adapter", folder, home / "adapter") == 0
    store = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    base = add_model(store, str(folder), name="base").model
    adapter = add_model(store, str(home / "adapter"), name="tiny", base=base.name).model

    async def work() -> tuple[int, ProofRow]:
        never = asyncio.Event()
        model_id = await merge_adapter(
            store, settings, adapter.id, on_progress=quiet, cancelled=never
        )
        with store.read() as session:
            assert get_model(session, model_id).state == "unusable"
        proof = await prove(store, settings, model_id, on_progress=quiet, cancelled=never)
        return model_id, proof

    model_id, proof = asyncio.run(work())
    with store.read() as session:
        merged = get_model(session, model_id)
    store.close()
    return Lab(home=home, settings=settings, base=base, adapter=adapter, merged=merged, proof=proof)


@pytest.fixture
def store(lab: Lab) -> Iterator[Database]:
    """The lab's store."""
    opened = open_database(f"sqlite:///{lab.home / 'q2q.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def broken(lab: Lab, tmp_path: Path) -> Path:
    """A copy of the merged folder, to be broken."""
    return Path(shutil.copytree(lab.folder, tmp_path / "broken"))


def failed(lab: Lab, store: Database, merged: Path) -> dict[str, str]:
    """Return the failed checks on files and digests, with their sentences."""
    base, adapter = Path(lab.base.path or ""), Path(lab.adapter.path or "")
    checks = [
        check_complete(merged),
        *check_files(base, merged),
        check_stop_ids(base, merged),
        *_weight_checks(store, base, adapter, merged),
    ]
    return {check.name: check.detail or "" for check in checks if not check.passed}


def test_a_good_merge_passes_every_check_and_can_be_served(lab: Lab, store: Database) -> None:
    assert lab.proof.passed, [check for check in lab.proof.checks if not check.passed]
    assert {check.name for check in lab.proof.checks} >= {
        "whole", "as_written", "tensors", "targets_changed", "others_unchanged", "finite",
        "delta", "logits", "stop_token", "stop_ids", "tokenizer", "generation_config", "config",
    }  # fmt: skip
    assert lab.merged.state == "ready"
    assert server_spec(lab.merged, lab.settings).model == lab.folder
    spec = server_spec(lab.base, lab.settings, [lab.adapter])
    assert spec.adapters[0].name == "tiny", "beside its base it is the quick alternative"
    with store.read() as session:
        up = {group.relation: group for group in lineage(session, f"m{lab.merged.id}").up}
    assert [node.label for node in up["merged_from"].nodes] == ["tiny"]


def test_the_weights_are_those_of_pefts_own_merge(lab: Lab) -> None:
    assert torch_work("same", lab.base.path, lab.adapter.path, lab.folder) == 0


def test_the_card_tells_base_digest_and_proof(lab: Lab) -> None:
    text = (lab.folder / "README.md").read_text("utf-8")
    assert lab.merged.digest is not None
    assert text.startswith("---\nlibrary_name: transformers")
    assert lab.merged.digest in text
    assert "Proof of the merge: passed" in text


def overwrite(merged: Path, name: str, values: bytes) -> None:
    """Write bytes into the middle of a tensor."""
    path = merged / "model.safetensors"
    place = read_header(path)[name]
    with path.open("r+b") as file:
        file.seek(place.start)
        file.write(values)


def test_tampered_weights_are_caught(lab: Lab, store: Database, broken: Path) -> None:
    overwrite(broken, "model.norm.weight", bytes(8))
    found = failed(lab, store, broken)
    assert "were changed after they were written" in found["as_written"]
    assert "model.norm.weight differs from the base" in found["others_unchanged"]


def test_a_module_that_was_not_merged_is_caught(lab: Lab, store: Database, broken: Path) -> None:
    source = Path(lab.base.path or "") / "model.safetensors"
    place = read_header(source)[f"{MODULE}.weight"]
    overwrite(broken, f"{MODULE}.weight", source.read_bytes()[place.start : place.end])
    found = failed(lab, store, broken)
    assert f"{MODULE}.weight is as in the base" in found["targets_changed"]


def test_a_lost_stop_token_is_caught(lab: Lab, store: Database, broken: Path) -> None:
    for name in ("generation_config.json", "config.json", "tokenizer_config.json"):
        values = json.loads((broken / name).read_text("utf-8"))
        values["eos_token_id" if name != "tokenizer_config.json" else "eos_token"] = (
            0 if name != "tokenizer_config.json" else "<|endoftext|>"
        )
        (broken / name).write_text(json.dumps(values), "utf-8")
    found = failed(lab, store, broken)
    assert found["stop_ids"].startswith("The stop token was lost")
    assert {"tokenizer", "generation_config", "config"} <= found.keys()


def test_a_missing_file_is_caught(lab: Lab, store: Database, broken: Path) -> None:
    (broken / "chat_template.jinja").unlink()
    found = failed(lab, store, broken)
    assert "chat_template.jinja" in found["whole"]
    assert "chat_template.jinja" in found["tokenizer"]


async def test_nan_makes_the_merge_unusable_and_a_new_merge_repairs_it(
    lab: Lab, store: Database
) -> None:
    overwrite(lab.folder, f"{MODULE}.weight", b"\xc0\x7f" * 4)
    never = asyncio.Event()
    proof = await prove(store, lab.settings, lab.merged.id, on_progress=quiet, cancelled=never)
    found = {check.name: check.detail for check in proof.checks if not check.passed}
    assert "holds NaN" in (found["finite"] or "")
    with store.read() as session:
        model = get_model(session, lab.merged.id)
        stored = proof_of(session, lab.merged.id)
    assert model.state == "unusable"
    assert model.note is not None
    assert model.note.startswith("Not usable: ")
    assert stored is not None
    assert not stored.passed


async def test_a_pruned_merge_is_made_again_with_the_same_digest(lab: Lab, store: Database) -> None:
    drop_weights(lab.merged)
    assert not lab.folder.exists()
    with store.write() as session:
        mark_pruned(session, lab.merged.id)
    never = asyncio.Event()
    again = await merge_adapter(
        store, lab.settings, lab.adapter.id, on_progress=quiet, cancelled=never
    )
    with store.read() as session:
        model = get_model(session, again)
    assert (again, model.digest) == (lab.merged.id, lab.merged.digest)
    assert check_complete(lab.folder).passed


async def test_a_used_folder_is_refused(lab: Lab, store: Database) -> None:
    used = lab.home / "models" / "used"
    used.mkdir()
    with store.write() as session:
        mark_pruned(session, lab.merged.id)
    with pytest.raises(Q2QError, match="never writes into a used folder"):
        await merge_adapter(
            store,
            lab.settings,
            lab.adapter.id,
            name="used",
            on_progress=quiet,
            cancelled=asyncio.Event(),
        )
    assert not list(used.iterdir())


async def test_a_disk_without_room_is_said_before_anything_is_written(
    lab: Lab, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "free_bytes", lambda _: 4 * 10**7)
    with store.write() as session:
        mark_pruned(session, lab.merged.id)
    with pytest.raises(Q2QError, match=r"needs 0\.2 GB in .*0\.0 GB are free"):
        await merge_adapter(
            store,
            lab.settings,
            lab.adapter.id,
            name="no-room",
            on_progress=quiet,
            cancelled=asyncio.Event(),
        )
    assert not (lab.home / "models" / "no-room").exists()


def test_a_disk_that_runs_full_meanwhile_leaves_nothing(lab: Lab) -> None:
    """A real full disk: 40 MB mounted over the models, in a mount namespace of its own."""
    mine = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    )
    if subprocess.run([*mine, "true"], check=False).returncode:
        pytest.skip("this system allows no mounts of one's own")
    told = subprocess.run(
        [*mine, sys.executable, "-m", "tests.unit.merge_lab", "full", lab.home],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert told[-2].startswith(f"The disk ran full while {lab.home / 'models' / 'tiny-merged'}")
    assert told[-1] == "left: []"


async def test_a_cancelled_merge_leaves_nothing(lab: Lab, store: Database) -> None:
    stop = asyncio.Event()
    stop.set()
    with store.write() as session:
        mark_pruned(session, lab.merged.id)
    with pytest.raises(Cancelled):
        await merge_adapter(
            store, lab.settings, lab.adapter.id, name="cut", on_progress=quiet, cancelled=stop
        )
    assert not [path for path in (lab.home / "models").iterdir() if "cut" in path.name]


def test_check_targets_names_what_was_not_merged(lab: Lab, store: Database) -> None:
    from serving.models.folder import digest_folder

    same = digest_folder(Path(lab.base.path or ""))
    missed, others = check_targets(same, same, read_adapter(Path(lab.adapter.path or "")).changes)
    assert not missed.passed
    assert others.passed
