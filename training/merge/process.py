"""A child process that does one piece of torch work, tells its progress and gives back a result.

The child is given a JSON object on its command line's file and writes JSON lines: progress, then
a result or an error. It leads a process group of its own, so that a cancel ends all of it.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from training.merge.folder import MergeError

OnProgress = Callable[[int, int | None, str], None]
"""Receives what is done, what there is in all, and a sentence."""

REPOSITORY = Path(__file__).parents[2]
_QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
_LINE_LIMIT = 64 * 2**20
_END_GRACE_S = 5.0


class Cancelled(Exception):
    """The work was asked to stop; nothing of it is left."""


async def run_child(
    module: str,
    spec: Mapping[str, Any],
    *,
    log: Path,
    on_progress: OnProgress,
    cancelled: asyncio.Event,
) -> dict[str, Any]:
    """Run ``python -m module`` with ``spec`` on its stdin and return its result.

    Raises:
        MergeError: It failed; its own sentence, or the last lines of its log.
        Cancelled: ``cancelled`` was set; the child and all its processes are gone.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            cwd=REPOSITORY,
            env=os.environ | _QUIET,
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            start_new_session=True,
            limit=_LINE_LIMIT,
        )
    following = asyncio.ensure_future(_follow(child, spec, on_progress))
    stopping = asyncio.ensure_future(cancelled.wait())
    try:
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            raise Cancelled
        told = following.result()
    finally:
        stopping.cancel()
        await _end(child)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(following, return_exceptions=True)
    if "error" in told:
        raise MergeError(str(told["error"]))
    if "result" not in told:
        raise MergeError(_why(child, log))
    result = told["result"]
    assert isinstance(result, dict)
    return result


async def _follow(
    child: Process, spec: Mapping[str, Any], on_progress: OnProgress
) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(ConnectionError):
        child.stdin.write(json.dumps(spec).encode())
        await child.stdin.drain()
        child.stdin.close()
    last: dict[str, Any] = {}
    async for line in child.stdout:
        if not line.startswith(b'{"q2q": '):  # a library may print what it likes
            continue
        last = json.loads(line)["q2q"]
        if "message" in last:
            on_progress(int(last["done"]), last["total"], str(last["message"]))
    await child.wait()
    return last


async def _end(child: Process) -> None:
    """End what is left of the child's process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_GRACE_S):
                await child.wait()
                return


def _why(child: Process, log: Path) -> str:
    tail = log.read_text("utf-8", "replace").strip().splitlines()
    last = tail[-1] if tail else "it wrote nothing"
    if child.returncode == -signal.SIGKILL or "MemoryError" in last:
        return (
            "The process was ended from outside, as happens when memory runs out. Close other "
            f"programs, or stop the model server, and try again. Its log is {log}."
        )
    return f"The process ended with code {child.returncode}: {last}. Its log is {log}."
