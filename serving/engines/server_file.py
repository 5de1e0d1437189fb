"""The running server on record: ``server.json`` in ``Q2Q_HOME``, and the end of its process group.

vLLM's children outlive a killed parent and keep its memory; so it is the whole group (all
processes of the session that the server led) that is looked for and ended, through ``/proc``.
"""

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.engines.errors import EngineError
from serving.engines.process import HOME_VARIABLE, ServerSpec

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
    """See ``serving.engines.process.fingerprint``."""
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
