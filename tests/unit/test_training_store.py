"""Runs in the store, their folder, and the tie between a child and its parent."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from db.child_process import REPOSITORY
from db.database import Database
from db.errors import Q2QError, UsageError
from db.messages import time_left
from db.settings import Settings
from db.training import (
    SampleRow,
    add_metrics,
    add_samples,
    find_run,
    get_run,
    list_runs,
    run_curves,
    run_samples,
    set_run_state,
)
from tests.conftest import CACHE
from tests.unit.dataset_lab import Lab
from training.runs.estimate import check_disk, trained_values
from training.runs.folder import COMPLETE, RunFolder, read_rows
from training.runs.prepare import plan_run, queue_run, write_folder
from training.runs.presets import PRESETS
from training.runs.process import (
    TrainingFailed,
    command,
    environment,
    exit_sentence,
    joining,
    prune_compiled,
)
from training.runs.run import run_training
from training.runs.spec import parse_spec
from training.runs.watch import RunRecorder, describe_shares


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, cache=Path(CACHE), device="cpu")


@pytest.fixture
def run_id(database: Database, settings: Settings) -> int:
    with database.write() as session:
        lab = Lab(session)
        for i in range(20):
            lab.whole(f"What is number {i}?", f"You should name {i} in words.", "A number.")
        lab.whole("Why so long?", "You should go on. " * 200, "Because.")
        lab.freeze(take={"sources": ["imported"]}, held_out=0.2, near_duplicates=None, findings=[])
    spec = parse_spec({"dataset": "lab", "max_length": 300})
    prepared = plan_run(database, settings, spec)
    with database.write() as session:
        return queue_run(session, spec, prepared).id


def test_a_run_is_found_by_its_number(database: Database, run_id: int) -> None:
    with database.read() as session:
        assert find_run(session, f"t{run_id}") == find_run(session, run_id) == get_run(session, 1)
        assert [run.id for run in list_runs(session)] == [run_id]
        for wrong in ("x", "t", "99"):
            with pytest.raises(UsageError, match="q2q train list"):
                find_run(session, wrong)


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (["q_proj", "lm_head"], "uses one tensor for embed_tokens and lm_head"),
        (["model.embed_tokens"], "uses one tensor for embed_tokens and lm_head"),
        (["q_proj", "qkv_proj"], "has no module called qkv_proj; it has down_proj, gate_proj"),
        (["proj"], "has no module called proj"),
    ],
)
def test_targets_that_cannot_be_trained_are_refused_before(
    targets: list[str], why: str, database: Database, settings: Settings, run_id: int
) -> None:
    """The embedded model shares its embeddings, as many small ones do."""
    with pytest.raises(UsageError, match=f"^targets: smollm2-135m-instruct {why}"):
        plan_run(database, settings, parse_spec({"dataset": "lab", "targets": targets}))
    with database.read() as session:
        assert [run.id for run in list_runs(session)] == [run_id]
    planned = parse_spec({"dataset": "lab", "targets": ["0.self_attn.q_proj", "up_proj"]})
    assert plan_run(database, settings, planned).resolved.settings.targets[1] == "up_proj"


def test_curves_keep_one_value_a_step(database: Database, run_id: int) -> None:
    with database.write() as session:
        add_metrics(session, run_id, [("loss", 2, 1.5), ("loss", 1, 2.0), ("lr", 1, 0.1)])
        add_metrics(session, run_id, [("loss", 2, 1.4)])
    with database.read() as session:
        found = run_curves(session, run_id)
        later = run_curves(session, run_id, ["loss"], after_step=1)
    assert (found["loss"].steps, found["loss"].values) == ((1, 2), (2.0, 1.4))
    assert set(later) == {"loss"}
    assert later["loss"].steps == (2,)


def test_samples_of_a_step_are_replaced(database: Database, run_id: int) -> None:
    first = SampleRow(step=5, question_id=1, question="Q", text="a", stopped=False)
    second = SampleRow(step=5, question_id=1, question="Q", text="b", stopped=True)
    with database.write() as session:
        add_samples(session, run_id, [first])
        add_samples(session, run_id, [second])
        set_run_state(session, run_id, "running")
    with database.read() as session:
        assert run_samples(session, run_id) == [second]
        assert get_run(session, run_id).started_at is not None


def test_rows_are_ids_and_too_long_ones_are_left_out_and_counted(
    database: Database, settings: Settings, run_id: int, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    with database.read() as session:
        run = get_run(session, run_id)
    write_folder(database, settings, run, folder)
    rows = list(read_rows(folder.train))
    config = folder.read_config()
    assert set(rows[0]) == {"input_ids", "labels"}
    assert max(len(row["input_ids"]) for row in rows) <= 300
    counted = config["rows"]
    assert counted["train"] == len(rows)
    assert counted["held_out"] >= 1
    long_trains = "Why so long?" not in {one["question"] for one in read_rows(folder.questions)}
    assert counted["too_long"] == int(long_trains)
    assert config["dataset_hash"] == run.config["dataset_hash"]
    for question in read_rows(folder.questions):
        assert question["stop_token_ids"]


def test_a_run_says_what_its_time_goes_into(database: Database, run_id: int) -> None:
    recorder = RunRecorder(database, run_id)

    def phase(name: str, **seconds: float) -> dict[str, Any]:
        return {"event": "phase", "name": name, "seconds": seconds}

    recorder.take(phase("loading", starting=5.0))
    assert recorder.message == "Loading the model."
    recorder.take({"event": "begin", "step": 0, "total": 10})
    recorder.take(phase("steps", starting=5.0, loading=20.0))
    values = {"loss": 1.5}
    recorder.take({"event": "metrics", "step": 2, "values": values, "seconds_left": 600.0})
    assert recorder.message == "Training. loss 1.500, 10 min left"
    recorder.take(phase("samples", starting=5.0, loading=20.0, steps=75.0))
    assert recorder.message == "Writing sample texts. loss 1.500, 10 min left"
    recorder.take(phase("steps", starting=5.0, loading=20.0, steps=75.0, samples=0.1))
    assert recorder.message == "Training. loss 1.500, 10 min left"
    with database.read() as session:
        summary = get_run(session, run_id).summary
    assert describe_shares(summary) == (
        "steps 75 s (75%), loading the model 20 s (20%), start 5 s (5%); 25% outside the steps"
    )
    assert describe_shares({}) == ""
    assert [time_left(s) for s in (40, 200, 4800, 7300)] == [
        "40 s", "3 min", "80 min", "2 h 2 min",
    ]  # fmt: skip


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (5, 10, 100):
        (folder.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
    for step in (5, 10):
        (folder.checkpoints / f"checkpoint-{step}" / COMPLETE).touch()
    found = folder.last_checkpoint()
    assert found is not None
    assert found.name == "checkpoint-10"
    assert not (folder.checkpoints / "checkpoint-100").exists()


def test_figures_are_stored_as_the_child_tells_them(database: Database, run_id: int) -> None:
    recorder = RunRecorder(database, run_id)
    recorder.take({"event": "metrics", "step": 3, "values": {"loss": 0.5}})
    assert (recorder.step, recorder.last) == (3, {"loss": 0.5})
    with database.read() as session:
        assert run_curves(session, run_id)["loss"].values == (0.5,)


def test_a_full_disk_is_told_before_the_start(
    tmp_path: Path, embedded_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = trained_values(embedded_model, PRESETS["laptop"])
    assert 4e6 < values < 8e6
    check_disk(tmp_path, embedded_model, PRESETS["laptop"])
    little = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: little)
    with pytest.raises(Q2QError, match="make room"):
        check_disk(tmp_path, embedded_model, PRESETS["laptop"])


def test_several_processes_go_through_torchrun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    one = PRESETS["laptop"]
    assert command(folder, one)[1:] == ["-m", "training.child", str(tmp_path)]
    two: Any = command(folder, one.model_copy(update={"processes": 2}))
    assert two[two.index("--nproc-per-node") + 1] == "2"
    assert "torch.distributed.run" in two
    told = environment(folder, 2)
    assert told["UNSLOTH_COMPILE_LOCATION"].startswith(str(tmp_path))


def test_several_nodes_meet_and_are_told_how(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    meeting = {"processes": 4, "nodes": 2, "rendezvous": "gpu1:29500"}
    settings = PRESETS["max"].model_copy(update=meeting)
    assert settings.world_size == 8
    first = " ".join(command(folder, settings))
    assert "--nnodes 2 --master-addr gpu1 --master-port 29500 --node-rank 0" in first
    assert joining(folder, settings).startswith("torchrun --nnodes 2 --master-addr gpu1")


def test_compiled_code_is_shared_by_the_runs_of_a_home_and_pruned(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "runs" / "1"), RunFolder(tmp_path / "runs" / "2")
    place = environment(one, 1)["TORCHINDUCTOR_CACHE_DIR"]
    assert place == environment(other, 1)["TORCHINDUCTOR_CACHE_DIR"]
    assert place.startswith(str(tmp_path / "cache"))
    Path(place).mkdir(parents=True)
    older = one.compiled / "2.0.0"
    older.mkdir()
    prune_compiled(one)
    assert Path(place).exists()
    assert not older.exists()


def test_a_killed_process_among_several_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("Root Cause (first observed failure):\n[0]:\n  exitcode  : -9 (pid: 7)\n")
    two = PRESETS["laptop"].model_copy(update={"processes": 2})
    told = exit_sentence(1, two, log, on_gpu=False)
    assert told.startswith("A training process was killed")


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """The child waits for a config that is a pipe nobody writes, so it would run for ever."""
    folder = RunFolder(tmp_path)
    code = (
        "import asyncio; from pathlib import Path;"
        "from training.runs.folder import RunFolder; from training.runs.process import run_trainer;"
        "from training.runs.presets import PRESETS;"
        f"asyncio.run(run_trainer(RunFolder(Path({str(tmp_path)!r})), PRESETS['laptop'],"
        " on_message=print))"
    )
    os.mkfifo(folder.config)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    due = time.monotonic() + 60
    while not folder.pid.exists() or not folder.pid.read_text():
        assert time.monotonic() < due
        time.sleep(0.05)
    child = psutil.Process(json.loads(folder.pid.read_text())["pid"])
    parent.kill()
    parent.wait()
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < due
        time.sleep(0.05)


async def test_a_disk_that_is_full_before_the_child_starts_is_told_alike(
    database: Database, settings: Settings, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "rows.arrow")

    monkeypatch.setattr("training.runs.run.write_folder", full)
    with pytest.raises(TrainingFailed, match="is full; free some space"):
        await run_training(database, settings, run_id)
    with database.read() as session:
        assert "is full; free some space" in (get_run(session, run_id).error or "")


@pytest.mark.parametrize(
    ("tells", "said"),
    [
        ({"kind": "memory", "error": "out of memory"}, "set recomputation"),
        ({"kind": "disk", "error": "No space left"}, "save_every"),
        (None, "ended with code 7"),
    ],
)
async def test_a_child_that_fails_ends_the_run_with_one_sentence(
    database: Database,
    settings: Settings,
    run_id: int,
    monkeypatch: pytest.MonkeyPatch,
    tells: dict[str, str] | None,
    said: str,
) -> None:
    line = "" if tells is None else json.dumps({"q2q": tells})
    code = f"import sys; print({line!r}); sys.exit(7)"
    monkeypatch.setattr(
        "training.runs.process.command", lambda *given: [sys.executable, "-c", code]
    )
    with pytest.raises(TrainingFailed, match=said):
        await run_training(database, settings, run_id)
    with database.read() as session:
        run = get_run(session, run_id)
    assert run.state == "failed"
    assert said in (run.error or "")
    assert run.versions["torch"]
    assert (settings.home_dir / "runs" / str(run_id) / "log.txt").is_file()
