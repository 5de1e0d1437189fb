"""One server's life: started or adopted, followed until it is healthy, ended.

Decides nothing about what should run; that is the supervisor's.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.child_process import ChildProcess, StartTime, session_pids, signal_all
from db.errors import Q2QError
from db.messages import Message
from db.settings import Settings
from serving.engine.client import CompletionClient
from serving.engine.command import HOME_VARIABLE, Command, ServerSpec, fingerprint, new_log
from serving.engine.hardware import Gpu
from serving.engine.messages import Endpoint, EngineUnavailable, OutOfMemory
from serving.engine.ray_cluster import application_name
from serving.engine.server_log import (
    LoadProgress,
    LoadReader,
    LogTail,
    explain_exit,
    ran_out_of_memory,
    reported,
)

FILE_NAME = "server.json"


class ServerRecord(BaseModel):
    """A server that somebody started for this workbench."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    """Of the leader; process group and session have the same number."""
    started: StartTime
    """Of the leader."""
    port: int
    path: str = ""
    """Before the paths of its API, where other applications answer at its port too."""
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
        return f"http://127.0.0.1:{self.port}{self.path}/v1"

    @property
    def process(self) -> ChildProcess:
        """The processes of the server; vLLM's own children outlive a leader that is killed."""
        return ChildProcess(self.pid, self.started, name="the model server")


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
        signal_all(session_pids(session), signal.SIGKILL)
    return sorted(sessions)


_HEALTH_POLL_S = 0.25
_HEALTH_TIMEOUT_S = 5.0
_ADOPTED_ANSWERS_WITHIN_S = 60.0
"""A server that was ready once and is silent for so long is not adopted."""
MakeCommand = Callable[[ServerSpec, Settings], tuple[Command, int, str]]
"""Returns how to start a server, its port and its key."""


class RunningServer:
    """A server on record, the child of this process or adopted."""

    def __init__(self, record: ServerRecord, process: ChildProcess | None = None) -> None:
        self.record = record
        self.process = process or record.process
        self.report: str | None = None
        """How its replicas are, as it says in its log; only a child of our own does."""
        self._tail = LogTail(record.log)

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers; what it can do is not known yet."""
        return Endpoint(url=self.record.url, api_key=self.record.api_key)

    def new_lines(self) -> Iterator[str]:
        """Yield what is new in its log, taking note of its last report."""
        for line in self._tail.new_lines():
            if (message := reported(line).get("message")) is not None:
                self.report = Message.read(message)
            yield line

    def has_news(self) -> bool:
        """Say whether its report has changed since its log was last read."""
        known = self.report
        for _ in self.new_lines():
            pass
        return self.report != known

    def why_it_ended(self) -> str:
        """Return one sentence on why its process ended."""
        return explain_exit(self.process.exit_code, self.record.log)

    def end(self, home: Path, *, grace_s: float) -> None:
        """End all its processes and forget it. Blocks until they are gone."""
        self.process.end(grace_s=grace_s)
        (home / FILE_NAME).unlink(missing_ok=True)


def planned(spec: ServerSpec, settings: Settings, gpus: Sequence[Gpu] | None = None) -> ServerSpec:
    """Return ``spec`` with its plan for this machine, or for ``gpus``.

    Raises:
        EngineUnavailable: The model does not fit, or the settings contradict it.
    """
    try:
        return spec.planned(settings, gpus)
    except Q2QError as error:
        raise EngineUnavailable(error.message.template, **error.message.values) from error


def start(spec: ServerSpec, settings: Settings, make_command: MakeCommand) -> RunningServer:
    """Start a server for ``spec`` and put it on record; servers that got lost are ended first.

    It is planned here, where no server of the workbench holds memory any more.

    Raises:
        EngineUnavailable: its port is taken, the model does not fit, or the program cannot be run.
    """
    home = settings.home_dir
    home.mkdir(parents=True, exist_ok=True)
    end_strays(home)
    spec = planned(spec, settings)
    made, port, api_key = make_command(spec, settings)
    log = new_log(home)
    try:
        # It outlives this process on purpose: the next owner adopts or ends it.
        child = ChildProcess.start(made.argv, env=made.env, log=log, name="the model server")
    except OSError as error:
        raise EngineUnavailable("vLLM could not be started: {error}.", error=error) from error
    record = ServerRecord(
        pid=child.pid,
        started=child.started,
        port=port,
        path="" if spec.ray is None else f"/{application_name(home)}",
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
    if record.fingerprint == fingerprint(spec, settings) and server.process.is_alive():
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
    reader = LoadReader()
    last_life = time.monotonic()
    async with CompletionClient(server.endpoint) as client:
        while not await client.health(timeout_s=_HEALTH_TIMEOUT_S):
            if interrupted.is_set():
                raise EngineUnavailable("The model server was stopped while it was starting.")
            if not server.process.is_alive():
                is_short = ran_out_of_memory(server.record.log)
                raise (OutOfMemory if is_short else EngineUnavailable)(server.why_it_ended())
            for line in server.new_lines():
                last_life = time.monotonic()
                if progress := reader.feed(line):
                    on_progress(progress)
            if time.monotonic() - last_life > silence_s:
                raise EngineUnavailable(
                    "The model server gave no sign of life for {silence_s:g} s while starting. "
                    "Its log is {log}; "
                    "raise server_start_timeout_s in q2q.toml if it needs longer.",
                    silence_s=silence_s,
                    log=server.record.log,
                )
            await asyncio.sleep(_HEALTH_POLL_S)
