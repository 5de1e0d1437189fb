"""Training itself: model, adapter, trainer, the run. Runs in the child process only."""

import importlib
import random
import shutil
import time
from pathlib import Path
from typing import Any

from training.child.events import Events, Phases
from training.runs.folder import RunFolder, read_rows
from training.runs.presets import RunSettings


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
