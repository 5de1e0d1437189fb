"""One training run from its row to its adapter, in a child process that is watched."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy.orm import Session

from db.cancelling import Cancelled
from db.child_process import ChildFailed
from db.child_process import Message as ChildMessage
from db.database import Database
from db.errors import DISK_FULL
from db.messages import Message
from db.models import get_model, model_by_name
from db.settings import Settings
from db.training import RunRow, get_run, set_run_state, update_run
from serving.models.register import add_model
from training.runs.estimate import check_disk
from training.runs.folder import RunFolder
from training.runs.prepare import write_folder
from training.runs.presets import RunSettings
from training.runs.process import (
    TrainingFailed,
    code_version,
    end_left_over,
    exit_sentence,
    joining,
    run_trainer,
    sentence,
    was_killed,
)
from training.runs.watch import RunRecorder, added_up

log = logging.getLogger(__name__)

STOP_GRACE_S = 120.0
"""How long a child may take to end its step and write a checkpoint."""
OnProgress = Callable[[int, int | None, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What a run came to."""

    run_id: int
    state: Literal["done", "cancelled"]
    steps: int
    seconds: float
    """Of this start, the loading included."""
    adapter_model_version_id: int | None
    adapter_name: str | None
    loss: float | None
    """Of the last step."""
    held_out_loss: float | None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def run_folder(settings: Settings, run_id: int) -> RunFolder:
    """Return the folder of a run."""
    return RunFolder(settings.home_dir / "runs" / str(run_id))


async def run_training(
    database: Database,
    settings: Settings,
    run_id: int,
    *,
    on_progress: OnProgress = lambda done, total, message: None,
    cancelled: asyncio.Event | None = None,
) -> TrainingOutcome:
    """Train a run that was queued, cancelled or interrupted; it goes on from its last checkpoint.

    A run that is done is left as it is. Setting ``cancelled`` stops it with a checkpoint.

    Raises:
        UsageError: The dataset or the base cannot be used any more.
        TrainingFailed: It failed; the sentence names the setting to change. It can be resumed.
    """
    with database.read() as session:
        run = get_run(session, run_id)
    if run.state == "done":
        return _outcome(database, run, "done", 0.0)
    started = time.monotonic()
    folder = run_folder(settings, run_id)
    try:
        _open(database, settings, run, folder)
        try:
            recorder = await _train(database, settings, run, folder, on_progress, cancelled)
        except Cancelled:
            _end(database, run_id, "cancelled")
            return _outcome(database, run, "cancelled", time.monotonic() - started)
        on_progress(recorder.step, recorder.total, Message("Adding the adapter to the models."))
        with _counted(database, run_id, "registering"):
            await asyncio.to_thread(_register, database, run, folder)
    except asyncio.CancelledError:
        _end(database, run_id, "cancelled")
        raise
    except Exception as error:
        told = _for_people(error, run, folder)
        _end(database, run_id, "failed", str(told))
        raise told from error.__cause__
    return _outcome(database, run, "done", time.monotonic() - started)


@contextmanager
def _counted(database: Database, run_id: int, phase: str) -> Iterator[None]:
    """Add the time of what happens here to the account of a run."""
    started = time.monotonic()
    yield
    spent = {phase: time.monotonic() - started}
    with database.write() as session:
        before = get_run(session, run_id).summary.get("phases", {})
        update_run(session, run_id, summary={"phases": added_up(before, spent)})


def _open(database: Database, settings: Settings, run: RunRow, folder: RunFolder) -> None:
    """Make ready what the child needs; a run that goes on keeps its files."""
    end_left_over(folder)
    folder.stop.unlink(missing_ok=True)
    if not folder.config.exists():
        with _counted(database, run.id, "tokenising"):
            write_folder(database, settings, run, folder)
    model = Path(folder.read_config()["model"])
    check_disk(folder.path, model, RunSettings(**run.config["settings"]))
    versions = code_version()
    folder.write_config({**folder.read_config(), "versions": versions})
    with database.write() as session:
        set_run_state(session, run.id, "running")
        update_run(session, run.id, folder=str(folder.path), versions=versions)


async def _train(
    database: Database,
    settings: Settings,
    run: RunRow,
    folder: RunFolder,
    on_progress: OnProgress,
    cancelled: asyncio.Event | None,
) -> RunRecorder:
    """Train in the child, and store what it tells.

    Raises:
        Cancelled: It was stopped; a checkpoint is there if it had begun.
        TrainingFailed: It failed.
    """
    chosen = RunSettings(**run.config["settings"])
    recorder = RunRecorder(database, run.id)

    def report(message: str) -> None:
        on_progress(recorder.step, recorder.total, message)

    def on_message(event: ChildMessage) -> None:
        recorder.take(event)
        report(recorder.message)

    def ask_to_stop() -> float:
        report(Message("Stopping with a checkpoint."))
        folder.stop.touch()
        has_begun = recorder.total is not None
        return STOP_GRACE_S if has_begun else 0.0

    report(recorder.message)
    if chosen.nodes > 1:
        line = joining(folder, chosen)
        report(Message("Waiting for the other nodes; type on each: {line}", line=line))
    try:
        last = await run_trainer(
            folder,
            chosen,
            on_message=on_message,
            cancelled=cancelled,
            ask_to_stop=ask_to_stop,
        )
    except ChildFailed as failed:
        raise TrainingFailed(_why(failed, chosen, folder)) from None
    if last["event"] == "stopped":
        raise Cancelled
    return recorder


def _why(failed: ChildFailed, chosen: RunSettings, folder: RunFolder) -> Message:
    on_gpu = folder.read_config()["device"] == "cuda"
    if "kind" in failed.last_message and not was_killed(folder.log):
        return sentence(
            failed.last_message["kind"],
            failed.last_message["error"],
            chosen,
            folder.log,
            on_gpu=on_gpu,
        )
    return exit_sentence(failed.returned or 0, chosen, folder.log, on_gpu=on_gpu)


def _for_people(error: Exception, run: RunRow, folder: RunFolder) -> Exception:
    """Return a full disk as the sentence that the child's own would be; all else as it is."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return TrainingFailed(
            sentence("disk", "", RunSettings(**run.config["settings"]), folder.log)
        )
    return error


def _register(database: Database, run: RunRow, folder: RunFolder) -> None:
    """Add the adapter to the models, with its base, and end the run."""
    with database.read() as session:
        base = get_model(session, run.base_model_version_id)
        name = free_name(session, run)
    note = f"Trained by run t{run.id} on the dataset {run.config['dataset']}."
    added = add_model(database, str(folder.adapter), name=name, base=base.name, note=note)
    with database.write() as session:
        set_run_state(session, run.id, "done", adapter_model_version_id=added.model.id)
    folder.tidy()


def free_name(session: Session, run: RunRow) -> str:
    """Return how the adapter of a run is called: as asked for, unless that was taken meanwhile."""
    asked = run.config["spec"].get("name")
    if asked is not None and model_by_name(session, asked) is None:
        return str(asked)
    return f"{asked or _plain(run.config['dataset'])}-t{run.id}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")[:60] or "run"


def _end(
    database: Database,
    run_id: int,
    state: Literal["cancelled", "failed"],
    error: str | None = None,
) -> None:
    with database.write() as session:
        set_run_state(session, run_id, state, error=error)


def _outcome(
    database: Database, run: RunRow, state: Literal["done", "cancelled"], seconds: float
) -> TrainingOutcome:
    with database.read() as session:
        run = get_run(session, run.id)
        adapter = run.adapter_model_version_id
        name = get_model(session, adapter).name if adapter is not None else None
    return TrainingOutcome(
        run_id=run.id,
        state=state,
        steps=cast(int, run.summary.get("step", 0)),
        seconds=round(seconds, 1),
        adapter_model_version_id=adapter,
        adapter_name=name,
        loss=run.summary.get("loss"),
        held_out_loss=run.summary.get("held_out_loss"),
    )
