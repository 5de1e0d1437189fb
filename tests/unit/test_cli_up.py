"""``q2q up`` with a stand-in for the page: start, second start, crash, end."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from db.child_process import REPOSITORY, ChildProcess
from db.errors import Q2QError
from db.settings import Settings
from workbench import up
from workbench.jobs.lock import HomeLock
from workbench.up import Child, run_up, ssh_line


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_second_start_says_where_the_first_one_is(home: Path) -> None:
    said: list[str] = []
    with HomeLock(home, "up", command="q2q up", url="http://127.0.0.1:8501") as lock:
        lock.try_acquire()
        code = run_up(Settings(home=home), port=9999, with_engine=False, inform=said.append)
    assert code == 0
    assert "http://127.0.0.1:8501" in said[0]
    assert str(os.getpid()) in said[0]


def test_a_taken_port_is_a_sentence_with_another_one(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Q2QError, match=rf"Port {port} is taken .* --port {port + 1}"):
            run_up(Settings(home=home), port=port, with_engine=False, inform=lambda _: None)


def test_a_remote_machine_gets_its_ssh_line() -> None:
    remote = {"SSH_CONNECTION": "10.1.1.1 50000 10.2.2.2 22", "USER": "ada"}
    assert ssh_line(8501, remote) == "ssh -N -L 8501:127.0.0.1:8501 ada@10.2.2.2"
    other = remote | {"SSH_CONNECTION": "10.1.1.1 50000 10.2.2.2 2222"}
    assert ssh_line(8600, other) == "ssh -N -L 8600:127.0.0.1:8600 -p 2222 ada@10.2.2.2"
    assert ssh_line(8501, {}) is None


def test_a_crashed_child_starts_again_after_a_pause_that_grows(tmp_path: Path) -> None:
    said: list[str] = []
    log = tmp_path / "logs" / "child.log"
    child = Child(
        name="page",
        argv=(sys.executable, "-c", "print('here'); raise SystemExit(3)"),
        stop_s=5,
        log=log,
    )
    pauses = []
    for _ in range(3):
        child.due_at = 0
        child.check(said.append)
        wait_for_end(child)
        child.check(said.append)
        pauses.append(round(child.due_at - time.monotonic()))
    assert pauses == [1, 2, 4]
    assert "ended with code 3" in said[0]
    assert log.read_text().count("here") == 3
    child.crashes, child.started_at = 9, time.monotonic() - up.STEADY_S - 1
    child.process = ChildProcess.start([sys.executable, "-c", ""])
    wait_for_end(child)
    child.check(said.append)
    assert child.crashes == 0


def wait_for_end(child: Child) -> None:
    due = time.monotonic() + 20
    while child.process is not None and child.process.is_alive():
        assert time.monotonic() < due
        time.sleep(0.02)


def test_up_serves_the_real_page_and_ctrl_c_ends_all_of_it(home: Path) -> None:
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", "up", "--no-engine", "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"Q2Q_HOME": str(home), "SSH_CONNECTION": "1.1.1.1 5 2.2.2.2 22"},
    )
    lines: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    try:
        until(lambda: any("ssh -N -L" in line for line in lines), 60)
        assert "example questions are in the store" in lines[0]
        assert f"Q2Q Workbench: http://127.0.0.1:{port}" in lines[1]
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()
    assert not [child for child in children if child.is_running()]
    assert "Q2Q Workbench has ended.\n" in lines
