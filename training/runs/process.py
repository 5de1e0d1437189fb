"""The child process of a run: its command, its environment, and what an earlier owner left."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from db.child_process import REPOSITORY, ChildProcess, Message, run_child
from training.runs.folder import RunFolder

CHILD = "training.child"
"""The module that trains; a benchmark has one that measures as well."""


async def run_trainer(
    folder: RunFolder,
    processes: int,
    *,
    on_message: Callable[[Message], None],
    cancelled: asyncio.Event | None = None,
    ask_to_stop: Callable[[], float] | None = None,
    module: str = CHILD,
) -> dict[str, Any]:
    """Train what the folder of a run says; return the child's last message.

    Raises:
        ChildFailed: It failed; its last message has ``kind`` where it knew why.
        Cancelled: ``cancelled`` was set, and it did not come to an end by itself.
    """
    folder.cache.mkdir(parents=True, exist_ok=True)
    try:
        return await run_child(
            command(folder, processes, module),
            None,
            log=folder.log,
            on_message=on_message,
            cancelled=cancelled,
            env=environment(folder, processes),
            cwd=folder.path,
            ask_to_stop=ask_to_stop,
        )
    finally:
        folder.pid.unlink(missing_ok=True)


def command(folder: RunFolder, processes: int, module: str = CHILD) -> list[str]:
    """Return how to start the child; several processes go through torchrun, data parallel."""
    child = ["-m", module, str(folder.path)]
    if processes == 1:
        return [sys.executable, *child]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(processes), *child]


def environment(folder: RunFolder, processes: int) -> dict[str, str]:
    """Return what the child's environment has beside the usual: caches in the run's folder."""
    caches = {
        "UNSLOTH_COMPILE_LOCATION": str(folder.cache / "unsloth"),
        "HF_DATASETS_CACHE": str(folder.cache / "datasets"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder.cache / "inductor"),
        "TRITON_CACHE_DIR": str(folder.cache / "triton"),
    }
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = {}
    if processes > 1:
        threads["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    return {**caches, **threads, "PYTHONPATH": os.pathsep.join(paths)}


def end_left_over(folder: RunFolder) -> None:
    """End the child that an earlier owner left, with all that it started."""
    try:
        record = json.loads(folder.pid.read_text("utf-8"))
        left = ChildProcess(record["pid"], record["started"])
    except (OSError, ValueError, KeyError):
        return
    left.end()
    folder.pid.unlink(missing_ok=True)
