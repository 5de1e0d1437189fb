"""Ends of training that come late: full disks, failures of another process, taken names."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.errors import UsageError
from db.settings import Settings
from db.training import create_run, get_run
from serving.models.register import ensure_default_model
from tests.training_fixture import ENGLISH, example_store
from training.child.events import LONGEST_UNSAVED_S, Events, SaveTimer, failure_of
from training.runs.folder import COMPLETE, RunFolder
from training.runs.prepare import plan_run
from training.runs.run import free_name
from training.runs.spec import parse_spec


@pytest.fixture(scope="module")
def store(
    migrated_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Database, int]]:
    settings, database, dataset_id = example_store(
        migrated_file, tmp_path_factory.mktemp("edges") / "home"
    )
    yield settings, database, dataset_id
    database.close()


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534",
        "PytorchStreamWriter failed writing file data/0: file write failed",
    ],
)
def test_a_checkpoint_on_a_full_disk_is_told_as_one(message: str) -> None:
    assert failure_of(RuntimeError(message))["kind"] == "disk"


def test_a_process_that_is_not_the_first_tells_only_of_its_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr("training.child.events.send", lambda **values: sent.append(values))
    events = Events(speaks=False)
    events.write("metrics", step=1, values={"loss": 2.0})
    events.write("failed", **failure_of(RuntimeError("CUDA out of memory")))
    assert [one["kind"] for one in sent] == ["memory"]


def test_half_a_checkpoint_is_passed_over_and_deleted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (9, 10, 20):
        (folder.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
    for step in (9, 10):
        (folder.checkpoints / f"checkpoint-{step}" / COMPLETE).touch()
    assert folder.last_checkpoint() == folder.checkpoints / "checkpoint-10"
    assert not (folder.checkpoints / "checkpoint-20").exists()
    shutil.rmtree(folder.checkpoints)
    assert folder.last_checkpoint() is None


def test_a_name_that_is_taken_is_refused_before_anything_is_trained(
    store: tuple[Settings, Database, int],
) -> None:
    settings, database, _ = store
    taken = ensure_default_model(database, settings).name
    spec = parse_spec({"dataset": ENGLISH["name"], "name": taken})
    with pytest.raises(UsageError, match=f"another model is called {taken} already"):
        plan_run(database, settings, spec)


def test_a_name_taken_while_a_run_trains_gets_the_number_of_the_run(
    store: tuple[Settings, Database, int],
) -> None:
    settings, database, dataset_id = store
    taken = ensure_default_model(database, settings).name
    names = {}
    for asked in (taken, "free", None):
        run_id = _queue(settings, database, dataset_id, name=asked)
        names[asked] = (run_id, _name_of(database, run_id))
    assert names[taken][1] == f"{taken}-t{names[taken][0]}"
    assert names["free"][1] == "free"
    assert names[None][1] == f"english-examples-t{names[None][0]}"


def _queue(settings: Settings, database: Database, dataset_id: int, *, name: str | None) -> int:
    base = ensure_default_model(database, settings)
    spec = {} if name is None else {"name": name}
    with database.write() as session:
        return create_run(
            session,
            dataset_id=dataset_id,
            base_model_version_id=base.id,
            method="sft",
            config={"spec": spec, "dataset": ENGLISH["name"]},
        ).id


def _name_of(database: Database, run_id: int) -> str:
    with database.read() as session:
        return free_name(session, get_run(session, run_id))


def test_a_checkpoint_is_due_once_the_last_one_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("training.child.events.time.monotonic", lambda: now)
    timer = SaveTimer()
    now += LONGEST_UNSAVED_S - 1
    assert not timer.is_due
    now += 1
    assert timer.is_due
    timer.restart()
    assert not timer.is_due
