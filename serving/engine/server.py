"""One server's life: started or adopted, followed until it is healthy, ended.

Decides nothing about what should run; that is the supervisor's.
"""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.settings import Settings
from serving.engine.client import CompletionClient
from serving.engine.command import HOME_VARIABLE, Command, ServerSpec, fingerprint, new_log, spawn
from serving.engine.messages import Endpoint, EngineError, EngineUnavailable
from serving.engine.server_log import LoadProgress, LoadReader, LogTail, explain_exit

FILE_NAME = "server.json"
_SAME_START_S = 2.0
"""Two readings of one process's start time differ by less."""
_POLL_S = 0.05


class ServerRecord(BaseModel):
    """A server that somebody started for this workbench."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    """Of the leader; process group and session have the same number."""
    started: float
    """Start time of the leader, in seconds since 1970: tells it from a later process of its pid."""
    port: int
    api_key: str = Field(repr=False)
    fingerprint: str
    """See ``serving.engine.command.fingerprint``."""
    spec: ServerSpec
    log: Path
    software: str | None = None
    """Name and version; None until it has answered."""

    @property
    def url(self) -> str:
        """Root of its API."""
        return f"http://127.0.0.1:{self.port}/v1"


def read_record(home: Path) -> ServerRecord | None:
    """Return the record in ``home``; None if there is none or it cannot be read."""
    try:
        return ServerRecord.model_validate_json((home / FILE_NAME).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_record(home: Path, record: ServerRecord) -> None:
    """Put ``record`` in place at once, readable for its owner only."""
    handle, scratch = tempfile.mkstemp(prefix=f".{FILE_NAME}-", dir=home)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(record.model_dump_json(indent=2))
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(home / FILE_NAME)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def remove_record(home: Path) -> None:
    """Forget the server; no error if none is on record."""
    (home / FILE_NAME).unlink(missing_ok=True)


def start_time(pid: int) -> float | None:
    """Return when process ``pid`` started; None if it is gone or a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_alive(record: ServerRecord) -> bool:
    """Say whether the leader of ``record`` still runs (not merely another process of its pid)."""
    started = start_time(record.pid)
    return started is not None and abs(started - record.started) < _SAME_START_S


def members(record: ServerRecord) -> list[int]:
    """Return the pids of the server's processes that still run, its leader or not."""
    leader = start_time(record.pid)
    if leader is not None and abs(leader - record.started) >= _SAME_START_S:
        return []  # a group's number is not given away while a member lives: all are gone
    return [pid for pid in _session_pids(record.pid) if _is_ours(pid, record)]


def end_group(record: ServerRecord, *, grace_s: float = 15.0) -> None:
    """End every process of the server: ask first (TERM), insist (KILL) after ``grace_s``.

    Blocks until none is left. The caller reaps the leader if it is the caller's own child.

    Raises:
        EngineError: a process does not end even so.
    """
    if is_alive(record):
        _signal_all(members(record), signal.SIGTERM)
        if _gone_within(record, grace_s):
            return
    _signal_all(members(record), signal.SIGKILL)
    if not _gone_within(record, 10.0):
        left = ", ".join(map(str, members(record)))
        raise EngineError(
            f"Processes {left} of the model server cannot be ended. "
            "Restart the machine, or wait for the device they hang on."
        )


def end_strays(home: Path) -> list[int]:
    """End servers of the workbench in ``home`` that no record knows; return their sessions.

    One is left behind when its owner dies between starting it and writing the record.
    """
    marker = f"{HOME_VARIABLE}={home}".encode()
    sessions = set()
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            if marker in environment.split(b"\0"):
                sessions.add(os.getsid(process.pid))
        except (ProcessLookupError, PermissionError, FileNotFoundError):
            continue
    sessions.discard(os.getsid(0))
    for session in sessions:
        _signal_all(_session_pids(session), signal.SIGKILL)
    return sorted(sessions)


def _session_pids(session: int) -> list[int]:
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        try:
            if os.getsid(pid) == session or os.getpgid(pid) == session:
                pids.append(pid)
        except (ProcessLookupError, PermissionError):
            continue
    return pids


def _is_ours(pid: int, record: ServerRecord) -> bool:
    started = start_time(pid)
    return started is not None and started > record.started - _SAME_START_S


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _gone_within(record: ServerRecord, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while members(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


_HEALTH_POLL_S = 0.25
_HEALTH_TIMEOUT_S = 5.0
_ADOPTED_ANSWERS_WITHIN_S = 60.0
"""A server that was ready once and is silent for so long is not adopted."""
MakeCommand = Callable[[ServerSpec, Settings], tuple[Command, int, str]]
"""Returns how to start a server, its port and its key."""
_left_running: list[subprocess.Popen[bytes]] = []
"""Children left to the next owner; held, since a forgotten one would be reported as a leak."""


class RunningServer:
    """A server on record, the child of this process or adopted."""

    def __init__(self, record: ServerRecord, child: subprocess.Popen[bytes] | None = None) -> None:
        self.record = record
        self._child = child

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers; what it can do is not known yet."""
        return Endpoint(url=self.record.url, api_key=self.record.api_key)

    def is_alive(self) -> bool:
        """Say whether its leading process runs."""
        return is_alive(self.record) if self._child is None else self._child.poll() is None

    def why_it_ended(self) -> str:
        """Return one sentence on why its process ended."""
        exit_code = None if self._child is None else self._child.poll()
        return explain_exit(exit_code, self.record.log)

    def end(self, home: Path, *, grace_s: float) -> None:
        """End all its processes and forget it. Blocks until they are gone."""
        end_group(self.record, grace_s=grace_s)
        if self._child is not None:
            self._child.wait()
        remove_record(home)

    def leave(self) -> None:
        """Let it run on; the record tells the next owner."""
        if self._child is not None:
            _left_running.append(self._child)


def start(spec: ServerSpec, settings: Settings, make_command: MakeCommand) -> RunningServer:
    """Start a server for ``spec`` and put it on record; servers that got lost are ended first.

    Raises:
        EngineUnavailable: its port is taken, or the program cannot be run.
    """
    home = settings.home_dir
    home.mkdir(parents=True, exist_ok=True)
    end_strays(home)
    made, port, api_key = make_command(spec, settings)
    log = new_log(home)
    child = spawn(made, log)
    record = ServerRecord(
        pid=child.pid,
        started=start_time(child.pid) or time.time(),
        port=port,
        api_key=api_key,
        fingerprint=fingerprint(spec, settings),
        spec=spec,
        log=log,
    )
    write_record(home, record)
    return RunningServer(record, child)


def adopt(spec: ServerSpec, settings: Settings, *, grace_s: float) -> RunningServer | None:
    """Return the server that an earlier owner left, if it serves ``spec``; else end it."""
    record = read_record(settings.home_dir)
    if record is None:
        return None
    server = RunningServer(record)
    if record.fingerprint == fingerprint(spec, settings) and server.is_alive():
        return server
    server.end(settings.home_dir, grace_s=grace_s)
    return None


async def follow_until_healthy(
    server: RunningServer,
    *,
    silence_s: float,
    on_progress: Callable[[LoadProgress], None],
    interrupted: asyncio.Event,
) -> None:
    """Return once ``/health`` answers, telling the progress that the log shows meanwhile.

    Raises:
        EngineUnavailable: it ended, or gave no sign of life (no log line) for ``silence_s``,
            or ``interrupted`` was set. Processes that still run are left to the caller.
    """
    if server.record.software is not None:
        silence_s = min(silence_s, _ADOPTED_ANSWERS_WITHIN_S)
    tail, reader = LogTail(server.record.log), LoadReader()
    last_life = time.monotonic()
    async with CompletionClient(server.endpoint) as client:
        while not await client.health(timeout_s=_HEALTH_TIMEOUT_S):
            if interrupted.is_set():
                raise EngineUnavailable("The model server was stopped while it was starting.")
            if not server.is_alive():
                raise EngineUnavailable(server.why_it_ended())
            for line in tail.new_lines():
                last_life = time.monotonic()
                if progress := reader.feed(line):
                    on_progress(progress)
            if time.monotonic() - last_life > silence_s:
                raise EngineUnavailable(
                    f"The model server gave no sign of life for {silence_s:g} s while starting. "
                    f"Its log is {server.record.log}; "
                    "raise server_start_timeout_s in q2q.toml if it needs longer."
                )
            await asyncio.sleep(_HEALTH_POLL_S)
