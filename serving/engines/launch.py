"""One server's life: started or adopted, followed until it is healthy, ended.

Decides nothing about what should run; that is the supervisor's.
"""

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from db.settings import Settings
from serving.engines.client import CompletionClient
from serving.engines.errors import EngineUnavailable
from serving.engines.failure import explain_exit
from serving.engines.messages import Endpoint
from serving.engines.process import Command, ServerSpec, fingerprint, new_log, spawn
from serving.engines.progress import LoadProgress, LoadReader, LogTail
from serving.engines.server_file import (
    ServerRecord,
    end_group,
    end_strays,
    is_alive,
    read_record,
    remove_record,
    start_time,
    write_record,
)

_POLL_S = 0.25
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
            await asyncio.sleep(_POLL_S)
