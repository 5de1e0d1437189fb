"""``python -m training.child FOLDER``: train what the folder of a run says."""

import importlib
import json
import os
import random
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from db.child_process import QUIET, end_with_parent, open_channel, start_time
from training.child.events import Events, Phases, failure_of
from training.runs.folder import RunFolder, read_rows
from training.runs.presets import RunSettings
from training.runs.process import UPLOADS, environment


def main(folder: RunFolder) -> int:
    """Train and return the exit code; how it ended is the last event."""
    open_channel()
    end_with_parent()
    is_first = os.environ.get("RANK", "0") == "0"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    for name, value in {**QUIET, **environment(folder, local)}.items():
        os.environ.setdefault(name, value)  # a node that joined by hand has no parent to set it
    for name in UPLOADS:
        os.environ.pop(name, None)
    if is_first:
        leader = os.getsid(0)
        started = start_time(leader)
        record = {"pid": leader, "started": started and asdict(started)}
        folder.pid.write_text(json.dumps(record), "utf-8")
    events = Events(speaks=is_first)
    try:
        train(folder, events)
    except Exception as error:  # the edge of the process: the parent tells people
        events.write("failed", **failure_of(error))
        raise
    return 0


def train(folder: RunFolder, events: Events) -> None:
    """Train the run in ``folder``, from its last checkpoint if there is one."""
    config = folder.read_config()
    settings = RunSettings(**config["settings"])
    started = time.monotonic()
    phases = Phases(events)
    phases.begin("loading")
    importlib.import_module("unsloth")  # it patches trl, transformers and peft as they load
    from training.child.setup import device_name, load_model
    from training.child.trainers import make_trainer

    model, tokenizer = load_model(config, settings, events)
    events.write("device", name=device_name())
    phases.begin("rows")
    trainer = make_trainer(
        model,
        tokenizer,
        settings,
        folder,
        config,
        events,
        phases,
        train_rows=_shuffled(list(read_rows(folder.train)), settings.seed),
        held_out_rows=list(read_rows(folder.held_out)),
    )
    checkpoint = folder.last_checkpoint()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started
    if trainer.q2q_stopped:
        events.write("stopped", step=trainer.state.global_step)
        return
    phases.begin("saving")
    if trainer.is_world_process_zero():
        _save_adapter(model, folder.adapter)
    phases.end()
    events.write("done", step=trainer.state.global_step, seconds=round(seconds, 1))


def _save_adapter(model: Any, target: Path) -> None:
    """Write the adapter beside its place, then rename it: it is whole or absent."""
    scratch = target.with_name("adapter.part")
    shutil.rmtree(scratch, ignore_errors=True)
    model.save_pretrained(str(scratch))
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


def _shuffled(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Return rows in an order of their own: KTO takes them as they come."""
    random.Random(seed).shuffle(rows)
    return rows


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1]))))
