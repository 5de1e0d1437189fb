"""Child processes: started quietly, followed message by message, ended with all that they started.

There are two kinds. A child that works and gives back a result (a training run, a merge)::

    # the parent: the result, or ``ChildFailed``, or ``Cancelled`` once ``cancelled`` is set
    result = await run_child(
        [sys.executable, "-m", "training.merge.write_weights"], spec, log=log,
        on_message=lambda message: report(message["done"], message["total"], message["message"]),
        cancelled=cancelled,
    )

    # the child: what ``work`` returns is the result, a ``Q2QError`` that it raises the failure
    if __name__ == "__main__":
        sys.exit(serve(work))  # within ``work(spec)``, call ``send(done=…, total=…, message=…)``

A child that runs on (the model server, the page, the worker), perhaps longer than its parent::

    child = ChildProcess.start(argv, log=log)
    child = ChildProcess(pid, started)  # found again after a restart of the parent
    child.is_alive(), child.exit_code, child.end(grace_s=5.0)

The protocol: the spec is a line of JSON on stdin, which then stays open; when it closes, the parent
is gone, and the child ends with its whole group. Messages are lines ``{"q2q": {…}}`` on stdout; the
last has a ``result`` or an ``error``. All else that is printed goes to the log. A child of several
processes (torchrun) has its spec in a file: each calls ``open_channel`` and ``end_with_parent``.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import psutil

from db.cancelling import Cancelled
from db.errors import Q2QError

REPOSITORY = Path(__file__).parents[1]
QUIET: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_COLOR": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "WANDB_DISABLED": "true",
}
"""Children read local folders only and call nobody."""
OPENMP_WAIT: Final = "OMP_WAIT_POLICY"
"""Threads that spin while they wait take the core that the last one needs: on a machine that others
use too, products of matrices took up to six times as long. So children that compute let them sleep,
unless the variable says otherwise."""
END_GRACE_S = 5.0
_SAME_START_S = 2.0
"""Two readings of one process's start time differ by less."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CANNOT_END = (
    "Processes {left} of {name} cannot be ended. "
    "Restart the machine, or wait for the device they hang on."
)
_POLL_S = 0.05
_LONGEST_MESSAGE = 64 * 2**20
_MARK = b'{"q2q": '
_PR_SET_PDEATHSIG = 1

Message = dict[str, Any]


class ChildFailed(Q2QError):
    """A child ended without a result; the sentence is its own, or tells where its log is."""

    def __init__(self, sentence: str, *, exit_code: int | None, last_message: Message) -> None:
        super().__init__(sentence)
        self.returned = exit_code
        """The child's exit code; negative: the signal that ended it."""
        self.last_message = last_message
        """``{"error": …}`` where it knew why."""


@dataclass(frozen=True, slots=True)
class StartTime:
    """When a process started: tells it from a later process of its pid.

    By no clock that can be set, or that jumps when a machine wakes up: seconds since its boot.
    Where the kernel does not name its boots, seconds since 1970, as it noted them then.
    """

    boot: str
    seconds: float

    def is_that_of(self, other: "StartTime") -> bool:
        """Say whether both are readings of one start."""
        return self.boot == other.boot and abs(self.seconds - other.seconds) < _SAME_START_S

    def is_after(self, other: "StartTime") -> bool:
        """Say whether this is a start of the same boot that is no earlier."""
        return self.boot == other.boot and self.seconds > other.seconds - _SAME_START_S


class ChildProcess:
    """A process that leads a session of its own: the child of this process, or found again."""

    def __init__(
        self,
        pid: int,
        started: StartTime,
        *,
        name: str = "this work",
        popen: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        self.pid = pid
        """Session and process group have the same number."""
        self.started = started
        self._name = name
        self._popen = popen

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        name: str = "this work",
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        is_piped: bool = False,
        ends_with_parent: bool = False,
    ) -> Self:
        """Start a child, which sentences call ``name``.

        Args:
            argv: Program and arguments.
            name: e.g. ``the model server``.
            log: Where its output is added; None leaves it on the terminal.
            env: Variables on top of this process's own and ``QUIET``.
            cwd: Where it runs.
            is_piped: stdin and stdout are pipes of ours, and only stderr is logged.
            ends_with_parent: The kernel ends it when the thread that started it ends.

        Raises:
            OSError: The program cannot be run.
        """
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | None = None
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(log.open("ab"))
            popen = subprocess.Popen(
                argv,
                cwd=cwd,
                env={**os.environ, **QUIET, **(env or {})},
                stdin=subprocess.PIPE if is_piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if is_piped else output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent if ends_with_parent else None,
            )
        # One that has ended already leaves children that are no older than this process.
        started = start_time(popen.pid) or start_time(os.getpid())
        assert started is not None
        return cls(popen.pid, started, name=name, popen=popen)

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs, and of one that is not this process's own child."""
        return None if self._popen is None else self._popen.poll()

    def is_alive(self) -> bool:
        """Say whether it runs: not a zombie, and not merely another process of its pid."""
        if self._popen is not None:
            return self._popen.poll() is None
        started = start_time(self.pid)
        return started is not None and started.is_that_of(self.started)

    def members(self) -> list[int]:
        """Return the pids of its session and group that still run, its own or not."""
        leader = start_time(self.pid)
        if leader is not None and not leader.is_that_of(self.started):
            return []  # a group's number is not given away while a member lives: all are gone
        return [pid for pid in session_pids(self.pid) if self._is_member(pid)]

    def end(self, *, grace_s: float = END_GRACE_S) -> None:
        """End all its processes: ask first (TERM), insist (KILL) after ``grace_s``; blocks.

        Raises:
            Q2QError: A process does not end even so.
        """
        if self.is_alive():
            signal_all(self.members(), signal.SIGTERM)
            if self._gone_within(grace_s):
                return
        signal_all(self.members(), signal.SIGKILL)
        if not self._gone_within(10.0):
            left = ", ".join(map(str, self.members()))
            raise Q2QError(_CANNOT_END, left=left, name=self._name)

    async def wait(self, seconds: float | None = None) -> bool:
        """Return whether it ends within ``seconds``; None waits as long as it takes."""
        due = None if seconds is None else time.monotonic() + seconds
        while self.is_alive():
            if due is not None and time.monotonic() >= due:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def close(self) -> None:
        """Close its stdin: it ends with its parent."""
        if self._popen is not None and self._popen.stdin is not None:
            self._popen.stdin.close()

    def leave(self) -> None:
        """Let it run on when this process ends; held, since a forgotten one counts as a leak."""
        if self._popen is not None:
            _left_running.append(self._popen)

    def _is_member(self, pid: int) -> bool:
        started = start_time(pid)
        return started is not None and started.is_after(self.started)

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_alive() or self.members():  # the first reaps a child of ours
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True


_left_running: "list[subprocess.Popen[bytes]]" = []


async def run_child(
    argv: Sequence[str],
    spec: Mapping[str, Any] | None,
    *,
    log: Path,
    on_message: Callable[[Message], None],
    cancelled: asyncio.Event | None,
    env: Mapping[str, str] | None = None,
    cwd: Path = REPOSITORY,
    ask_to_stop: Callable[[], float] | None = None,
) -> Message:
    """Run a child to its end and return its result; no process of it is left, whatever happens.

    Args:
        argv: Program and arguments.
        spec: Its first line on stdin; None where it knows what to do otherwise.
        log: Where its output is added, but for its messages.
        on_message: Receives each message but the last.
        cancelled: Ends the child when it is set.
        env: Variables on top of the quiet ones.
        cwd: Where it runs.
        ask_to_stop: Asks the child to come to an end by itself, with a result, and returns how
            many seconds it may take; by default it is ended at once.

    Raises:
        ChildFailed: It ended without a result.
        Cancelled: ``cancelled`` was set, and there is no result.
    """
    waits = {OPENMP_WAIT: os.environ.get(OPENMP_WAIT, "passive")}
    child = ChildProcess.start(argv, log=log, env=waits | dict(env or {}), cwd=cwd, is_piped=True)
    following = asyncio.ensure_future(_follow(child, spec, on_message))
    stopping = asyncio.ensure_future((cancelled or asyncio.Event()).wait())
    try:
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        is_stopped = not following.done()
        if is_stopped and ask_to_stop is not None:
            await asyncio.wait({following}, timeout=ask_to_stop())
        last = following.result() if following.done() else {}
    finally:
        stopping.cancel()
        await asyncio.to_thread(child.end)
        following.cancel()
        await asyncio.gather(following, stopping, return_exceptions=True)
        with contextlib.suppress(BrokenPipeError):
            child.close()
    if "result" in last:
        return dict(last["result"])
    if is_stopped and "error" not in last:
        raise Cancelled
    code = child.exit_code
    raise ChildFailed(last.get("error") or _why(code, log), exit_code=code, last_message=last)


def start_time(pid: int) -> StartTime | None:
    """Return when process ``pid`` started; None if it is gone or a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if _BOOT_ID.exists():
            # Both of psutil's figures move with the clock; what lies between them does not.
            since = process.create_time() - psutil.boot_time()
            return StartTime(_BOOT_ID.read_text("ascii").strip(), since)
        return StartTime("", process.create_time())
    except psutil.NoSuchProcess:
        return None


def session_pids(leader: int) -> list[int]:
    """Return the processes of the session or group that ``leader`` leads or led."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if leader in (os.getsid(pid), os.getpgid(pid)):
                found.append(pid)
    return found


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def last_line(log: Path) -> str:
    """Return the last line of a log that holds anything: most often why its process ended."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")


async def _follow(
    child: ChildProcess, spec: Mapping[str, Any] | None, on_message: Callable[[Message], None]
) -> Message:
    """Return the last message once the child has ended."""
    popen = child._popen
    assert popen is not None
    assert popen.stdin is not None
    reader = asyncio.StreamReader(limit=_LONGEST_MESSAGE)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), popen.stdout
    )
    last: Message = {}
    try:
        if spec is not None:
            await asyncio.to_thread(_write_line, popen.stdin, spec)
        async for line in reader:
            # A library may print what it likes; of several processes, the first to fail knows why.
            message = json.loads(line)["q2q"] if line.startswith(_MARK) else {}
            if {"result", "error"} & message.keys():
                last = last or message
            elif message:
                on_message(message)
    finally:
        pipe.close()
    await child.wait()
    return last


def _write_line(pipe: IO[bytes], spec: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write(json.dumps(spec).encode() + b"\n")
        pipe.flush()


def _why(exit_code: int | None, log: Path) -> str:
    last = last_line(log)
    if exit_code == -signal.SIGKILL or "MemoryError" in last:
        return (
            "The process was ended from outside, as happens when memory runs out. Close other "
            f"programs, or stop the model server, and try again. Its log is {log}."
        )
    return f"The process ended with code {exit_code}: {last}. Its log is {log}."


def _die_with_parent() -> None:
    """Have the kernel end this process when its parent is killed; runs between fork and exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_channel: IO[str] | None = None


def serve(work: Callable[[Any], Message]) -> int:
    """Read the spec, do the work, give the result or a sentence; return the exit code.

    Anything but a ``Q2QError`` that goes wrong is a bug: its trace goes to the log.
    """
    open_channel()
    spec = json.loads(sys.stdin.buffer.readline())
    end_with_parent()
    try:
        result = work(spec)
    except Q2QError as error:
        send(error=str(error))
        return error.exit_code
    send(result=result)
    return 0


def open_channel() -> None:
    """Keep stdout for messages; what is printed from now on goes to stderr, which is the log."""
    global _channel
    sys.stdout.flush()
    _channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def send(**values: Any) -> None:
    """Send a message to the parent; does nothing in a process that has none."""
    if _channel is not None:
        _channel.write(json.dumps({"q2q": values}) + "\n")
        _channel.flush()


def end_with_parent() -> None:
    """End this whole process group when the parent is gone, however it went: stdin closes then."""
    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        threading.Thread(target=_wait_for_end_of_parent, name="parent", daemon=True).start()


def _wait_for_end_of_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)
