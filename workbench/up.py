"""``q2q up``: starts the app and the worker, watches them, restarts one that crashed, ends both."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import workbench
from db.child_process import REPOSITORY, ChildProcess
from db.errors import Q2QError
from db.settings import Settings
from db.store.migrate import open_store, upgrade_store
from db.store.staging import tidy
from serving.engine.command import is_free
from serving.engine.messages import Endpoint, EngineError
from serving.engine.transport import Transport, blocking
from serving.importers.question_files import add_examples
from workbench.jobs.lock import HomeLock, read_owner

POLL_S = 0.2
STEADY_S = 60.0
"""A child that ran this long has not crashed at its start: the next pause is short again."""
LONGEST_PAUSE_S = 30.0
STOP_WORKER_S = 40.0
STOP_APP_S = 5.0
_ONLINE = {name: os.environ.get(name, "0") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
"""Unlike other children, the worker may fetch a model that the settings name."""

Inform = Callable[[str], None]
SignalHandler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


@dataclass(kw_only=True)
class Child:
    """A process that is to run as long as ``q2q up`` does."""

    name: str
    argv: tuple[str, ...]
    stop_s: float
    """How long it may take to end before it is killed."""
    log: Path | None = None
    """Where its output goes; None leaves it on the terminal."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables on top of those of ``q2q up``."""
    process: ChildProcess | None = None
    crashes: int = 0
    started_at: float = 0.0
    due_at: float = field(default=0.0)
    """When it is started (again), by the monotonic clock."""

    def check(self, inform: Inform) -> None:
        """Start it if it is due; if it has ended, say so and plan the next start."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due_at:
                self._start()
            return
        if self.process.is_alive():
            return
        code = self.process.exit_code
        self.process = None
        self.crashes = 0 if now - self.started_at > STEADY_S else self.crashes + 1
        pause = min(2.0 ** (self.crashes - 1), LONGEST_PAUSE_S) if self.crashes else 0.0
        self.due_at = now + pause
        where = f" See {self.log}." if self.log else ""
        inform(f"The {self.name} ended with code {code}; it starts again in {pause:.0f} s.{where}")

    def end(self) -> None:
        """End it with all that it started, if it runs."""
        if self.process is not None:
            self.process.end(grace_s=self.stop_s)

    def _start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches only ``q2q up``."""
        self.started_at = time.monotonic()
        self.process = ChildProcess.start(
            self.argv,
            name=self.name,
            log=self.log,
            env={**_ONLINE, **self.environ},
            ends_with_parent=True,
        )


def run_up(
    settings: Settings,
    *,
    port: int,
    with_engine: bool,
    inform: Inform,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run the workbench until Ctrl-C or SIGTERM; return the exit code.

    Args:
        settings: The workbench to run.
        port: Port of the page, on 127.0.0.1.
        with_engine: False runs the page only, for reading and rating.
        inform: Receives lines for people.
        environ: Environment that tells whether this is a remote machine.

    Raises:
        Q2QError: The port is taken, or the store cannot be brought up to date.
    """
    url = f"http://127.0.0.1:{port}"
    home = settings.home_dir
    with HomeLock(home, "up", command="q2q up", url=url) as lock:
        if not lock.try_acquire():
            owner = read_owner(home, "up")
            where = f": {owner.url}, started by {owner}" if owner else ""
            inform(f"Q2Q Workbench runs already{where}.")
            return 0
        if not is_free(port):
            raise Q2QError(
                "Port {port} is taken by another program. End it, or choose another port:"
                " `q2q up --port {next_port}`.",
                port=port,
                next_port=port + 1,
            )
        complete_home(settings, inform)
        stop = threading.Event()
        previous = _on_signals(stop)
        try:
            _watch(
                _children(home, port, with_engine), stop, _announcer(url, environ, inform), inform
            )
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        inform("Q2Q Workbench has ended.")
    return 0


def ssh_line(port: int, environ: Mapping[str, str]) -> str | None:
    """Return the command that brings the page to the user's own machine; None where it is local."""
    parts = environ.get("SSH_CONNECTION", "").split()
    if len(parts) != 4:
        return None
    _, _, server, ssh_port = parts
    option = "" if ssh_port == "22" else f" -p {ssh_port}"
    user = environ.get("USER") or environ.get("LOGNAME") or "USER"
    return f"ssh -N -L {port}:127.0.0.1:{port}{option} {user}@{server}"


def complete_home(settings: Settings, inform: Inform) -> None:
    """Bring the store up to date; put the example questions into an empty one."""
    copy = upgrade_store(settings)
    if copy is not None:
        inform(f"The store was upgraded; the copy made before is {copy}.")
    with closing(open_store(settings)) as database:
        tidy(database)
        add_examples(database, inform)


def _children(home: Path, port: int, with_engine: bool) -> list[Child]:
    app = Child(
        name="page",
        argv=(
            sys.executable,
            *("-m", "streamlit", "run", str(REPOSITORY / "workbench" / "app.py")),
            *("--server.address", "127.0.0.1", "--server.port", str(port)),
            *("--server.headless", "true", "--server.fileWatcherType", "none"),
            *("--browser.gatherUsageStats", "false"),
        ),
        stop_s=STOP_APP_S,
        log=home / "logs" / "app.log",
        environ={workbench.READING_ONLY: "" if with_engine else "1"},
    )
    worker = Child(
        name="worker", argv=(sys.executable, "-m", "workbench.worker"), stop_s=STOP_WORKER_S
    )
    return [app, worker] if with_engine else [app]


def _watch(
    children: list[Child], stop: threading.Event, announce: Callable[[], bool], inform: Inform
) -> None:
    announced = False
    try:
        while not stop.is_set():
            for child in children:
                child.check(inform)
            announced = announced or announce()
            stop.wait(POLL_S)
        inform("Stopping: unfinished work is kept and goes on at the next start.")
    finally:
        for child in children:
            child.end()


def _announcer(url: str, environ: Mapping[str, str], inform: Inform) -> Callable[[], bool]:
    """Return a function that tells, once the page answers, where it is."""

    async def ask() -> None:
        async with Transport(Endpoint(url=url)) as page:
            await page.get(f"{url}/_stcore/health", timeout_s=1)

    def announce() -> bool:
        try:
            blocking(ask())
        except EngineError:
            return False
        inform(f"Q2Q Workbench: {url}  (Ctrl-C ends it)")
        line = ssh_line(int(url.rpartition(":")[2]), environ)
        if line is not None:
            inform(f"From your own machine, run:  {line}\nand then open {url} there.")
        return True

    return announce


def _on_signals(stop: threading.Event) -> dict[signal.Signals, SignalHandler]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
