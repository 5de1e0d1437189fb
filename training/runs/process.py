"""The child process of a run: its command, its environment, its end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from training.runs.folder import RunFolder

REPOSITORY = Path(__file__).parents[2]
CHILD = "training.child"
"""The module that trains; a benchmark has one that measures as well."""
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "WANDB_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "NO_COLOR": "1",
}
"""A run's base is always a local folder, so nothing is to be asked of anybody."""


def command(folder: RunFolder, processes: int) -> list[str]:
    """Return how to start the child; several processes go through torchrun, data parallel."""
    child = ["-m", CHILD, str(folder.path)]
    if processes == 1:
        return [sys.executable, *child]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(processes), *child]


def environment(folder: RunFolder, processes: int) -> dict[str, str]:
    """Return the environment of the child: caches in the run's folder, nothing calls home."""
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
    return {**os.environ, **QUIET, **caches, **threads, "PYTHONPATH": os.pathsep.join(paths)}


def start(folder: RunFolder, processes: int) -> subprocess.Popen[bytes]:
    """Start the child as leader of a session of its own, all its output in the run's log.

    Its stdin is a pipe of ours: when this process ends, however it does, so does the child.
    """
    folder.cache.mkdir(parents=True, exist_ok=True)
    with folder.log.open("ab") as log:
        child = subprocess.Popen(
            command(folder, processes),
            env=environment(folder, processes),
            cwd=folder.path,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    record = {"pid": child.pid, "started": psutil.Process(child.pid).create_time()}
    folder.pid.write_text(json.dumps(record), "utf-8")
    return child


def end_left_over(folder: RunFolder) -> None:
    """End the group of a child that an earlier owner left."""
    try:
        record = json.loads(folder.pid.read_text("utf-8"))
        process = psutil.Process(record["pid"])
        if abs(process.create_time() - record["started"]) < 1:
            kill_group(process.pid)
            process.wait(10)
    except (OSError, ValueError, psutil.Error):
        pass
    folder.pid.unlink(missing_ok=True)


def kill_group(pid: int) -> None:
    """End a child and all that it started, at once."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def wait_for(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether the child ends within ``seconds``."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    while child.poll() is None:
        if loop.time() >= due:
            return False
        await asyncio.sleep(0.1)
    return True
