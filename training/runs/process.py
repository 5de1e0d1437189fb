"""The child process of a run: its command, environment and versions, its end, and why it failed."""

import asyncio
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from db.child_process import REPOSITORY, ChildProcess, StartTime, run_child
from db.child_process import Message as ChildMessage
from db.errors import Q2QError, UsageError, free_bytes
from db.messages import Message
from training.runs.folder import RunFolder
from training.runs.presets import ReportTo, RunSettings

CHILD = "training.child"
"""The module that trains; a benchmark has one that measures as well."""
UPLOADS = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID")
"""Of a person's own environment: where Trackio would send curves, which stay on this machine."""
COMPILED_BYTES = 2 * 2**30
"""More than this is begun anew; the layers of one model take some 20 MB."""


async def run_trainer(
    folder: RunFolder,
    settings: RunSettings,
    *,
    on_message: Callable[[ChildMessage], None],
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
    prune_compiled(folder)
    try:
        return await run_child(
            command(folder, settings, module),
            None,
            log=folder.log,
            on_message=on_message,
            cancelled=cancelled,
            env=environment(folder, settings.processes),
            cwd=folder.path,
            ask_to_stop=ask_to_stop,
        )
    finally:
        folder.pid.unlink(missing_ok=True)


def command(folder: RunFolder, settings: RunSettings, module: str = CHILD) -> list[str]:
    """Return how to start the child; several processes go through torchrun, data parallel."""
    child = ["-m", module, str(folder.path)]
    if settings.world_size == 1:
        return [sys.executable, *child]
    launcher = [sys.executable, "-m", "torch.distributed.run"]
    per_node = ["--nproc-per-node", str(settings.processes)]
    if settings.nodes == 1:
        return [*launcher, "--standalone", *per_node, *child]
    return [*launcher, *_meeting(settings), "--node-rank", "0", *per_node, *child]


def _meeting(settings: RunSettings) -> list[str]:
    host, _, port = (settings.rendezvous or "").rpartition(":")
    return ["--nnodes", str(settings.nodes), "--master-addr", host, "--master-port", port]


def joining(folder: RunFolder, settings: RunSettings) -> str:
    """Return what to type on each other node, which sees the same folders; N is 1, 2 and so on."""
    parts = ["torchrun", *_meeting(settings), "--node-rank N"]
    parts += ["--nproc-per-node", str(settings.processes), "-m", CHILD, str(folder.path)]
    return " ".join(parts)


def environment(folder: RunFolder, processes: int) -> dict[str, str]:
    """Return what the child's environment has beside the usual: places of caches, threads."""
    compiled = folder.compiled / metadata.version("torch")
    caches = {
        "UNSLOTH_COMPILE_LOCATION": str(folder.cache / "unsloth"),
        "HF_DATASETS_CACHE": str(folder.cache / "datasets"),
        "TORCHINDUCTOR_CACHE_DIR": str(compiled / "inductor"),
        "TRITON_CACHE_DIR": str(compiled / "triton"),
        "TENSORBOARD_LOGGING_DIR": str(folder.path / "tensorboard"),
        "TRACKIO_DIR": str(folder.trackio),
    }
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = {}
    if processes > 1:
        threads["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    return {**caches, **threads, "PYTHONPATH": os.pathsep.join(paths)}


_REPORTERS: Mapping[ReportTo, tuple[str, ...]] = {
    "none": (),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
}
"""What keeps curves, by packages of which one is enough."""


def check_report_to(name: ReportTo) -> None:
    """Refuse to keep curves for what is not installed.

    Raises:
        UsageError: The package is missing; the sentence says how to have it.
    """
    packages = _REPORTERS[name]
    if packages and not any(find_spec(package) for package in packages):
        raise UsageError(
            "report_to: the package {package} is not installed here; `uv pip install {package}`,"
            " or leave report_to out.",
            package=packages[0],
        )


def prune_compiled(folder: RunFolder) -> None:
    """Delete what another version of PyTorch compiled, and all where it has grown too large."""
    version = metadata.version("torch")
    for one in folder.compiled.glob("*"):
        files = (path for path in one.rglob("*") if path.is_file())
        if one.name != version or sum(path.stat().st_size for path in files) > COMPILED_BYTES:
            shutil.rmtree(one, ignore_errors=True)


def end_left_over(folder: RunFolder) -> None:
    """End the child that an earlier owner left, with all that it started."""
    try:
        record = json.loads(folder.pid.read_text("utf-8"))
        left = ChildProcess(record["pid"], StartTime(**record["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return
    left.end()
    folder.pid.unlink(missing_ok=True)


_PACKAGES = ("torch", "transformers", "trl", "peft", "unsloth", "unsloth_zoo", "bitsandbytes")


def code_version() -> dict[str, Any]:
    """Return package versions, the git commit (``-dirty`` where files changed) and the machine."""
    found: dict[str, Any] = {"python": platform.python_version(), "cpus": os.cpu_count()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "commit": _commit()}


def _commit() -> str | None:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


class TrainingFailed(Q2QError):
    """A run failed; the sentence says why and what to do."""


def sentence(
    kind: str, message: str, settings: RunSettings, log: Path, *, on_gpu: bool = True
) -> Message:
    """Return why a run failed, for people.

    Args:
        kind: ``memory``, ``disk`` or ``bug``, as the child told.
        message: Its own words.
        settings: Those of the run, to name the one to change.
        log: Where the whole story is.
        on_gpu: Whose memory was too small.
    """
    if kind == "memory":
        whose = "GPU memory" if on_gpu else "memory"
        return Message(
            "Training ran out of {whose}; {change}. Then start it again.",
            whose=Message(whose),
            change=_smaller(settings),
        )
    if kind == "disk":
        return Message(
            "The disk of {folder} is full; free some space there or set save_every higher,"
            " then resume the run.",
            folder=str(log.parent),
        )
    return Message(
        "Training failed: {message}. The full log is {log}.", message=message, log=str(log)
    )


def exit_sentence(code: int, settings: RunSettings, log: Path, *, on_gpu: bool) -> Message:
    """Return why a child that told nothing ended."""
    if code == -signal.SIGKILL or was_killed(log):
        which = "A training process" if settings.world_size > 1 else "The training process"
        return Message(
            "{which} was killed, most likely by the system for want of memory;"
            " {change}, or resume the run.",
            which=Message(which),
            change=_smaller(settings),
        )
    if free_bytes(log.parent) < 2**20:
        return sentence("disk", "", settings, log, on_gpu=on_gpu)
    return Message(
        "The training process ended with code {code}. The full log is {log}.",
        code=code,
        log=str(log),
    )


def was_killed(log: Path) -> bool:
    """Say whether torchrun found that one of its processes was killed."""
    end = log.read_text("utf-8", "replace")[-4000:] if log.exists() else ""
    return re.search(rf"Root Cause.*exitcode *: -{signal.SIGKILL:d}\b", end, re.DOTALL) is not None


def _smaller(settings: RunSettings) -> Message:
    """Return the one change that saves the most."""
    if settings.recomputation == "none":
        return Message("set recomputation: unsloth")
    if settings.batch > 1:
        return Message(
            "set batch: {smaller} (now {batch}), and accumulation: {accumulation} to learn alike",
            smaller=settings.batch // 2,
            batch=settings.batch,
            accumulation=settings.accumulation * 2,
        )
    if settings.max_length > 512:
        return Message(
            "set max_length: {smaller} (now {max_length})",
            smaller=settings.max_length // 2,
            max_length=settings.max_length,
        )
    return Message("choose a smaller base, or a smaller r")
