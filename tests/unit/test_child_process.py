import asyncio
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from db.cancelling import Cancelled, unless_cancelled
from db.child_process import ChildFailed, ChildProcess, Message, last_line, run_child

PROLOGUE = """
import os, subprocess, sys, time
from db.child_process import send, serve
from db.errors import Q2QError
def work(spec):
"""


async def run(
    tmp_path: Path, body: str, spec: dict[str, Any] | None = None, **options: Any
) -> tuple[Message, list[Message]]:
    """Run a child whose work is ``body``; return its result and its other messages."""
    last_message: list[Message] = []
    options = {"cancelled": None, "on_message": last_message.append} | options
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program = f"{PROLOGUE}{lines}\nsys.exit(serve(work))"
    argv = [sys.executable, "-c", program]
    result = await run_child(argv, spec or {}, log=tmp_path / "log", **options)
    return result, last_message


async def test_messages_come_apart_from_what_a_library_prints(tmp_path: Path) -> None:
    body = """print("noise")
os.write(1, b"from C\\n")
send(done=1, total=2, message="half")
return {"sum": sum(spec["numbers"]), "quiet": os.environ["DO_NOT_TRACK"]}"""
    result, last_message = await run(tmp_path, body, {"numbers": [*range(50_000)]})
    assert result == {"sum": sum(range(50_000)), "quiet": "1"}
    assert last_message == [{"done": 1, "total": 2, "message": "half"}]
    assert set((tmp_path / "log").read_text().splitlines()) == {"noise", "from C"}


async def test_threads_of_a_child_sleep_while_they_wait_unless_asked_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    body = 'return {"policy": os.environ["OMP_WAIT_POLICY"]}'
    assert (await run(tmp_path, body))[0] == {"policy": "passive"}
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert (await run(tmp_path, body))[0] == {"policy": "active"}


@pytest.mark.parametrize(
    ("body", "sentence", "code"),
    [
        ('raise Q2QError("Too little room.")', "Too little room.", 1),
        ('raise ValueError("a bug")', "ended with code 1: ValueError: a bug. Its log is", 1),
        ("os.kill(os.getpid(), 9)", "ended from outside, as happens when memory runs out", -9),
        ("os._exit(0)", "ended with code 0: it wrote nothing", 0),
    ],
)
async def test_failure_says_why(tmp_path: Path, body: str, sentence: str, code: int) -> None:
    with pytest.raises(ChildFailed, match=sentence) as caught:
        await run(tmp_path, body)
    assert caught.value.returned == code


async def test_cancel_ends_the_child_and_its_children(tmp_path: Path) -> None:
    cancelled, pids = asyncio.Event(), []

    def on_message(message: Message) -> None:
        pids.append(message["pid"])
        cancelled.set()

    body = 'send(pid=subprocess.Popen(["sleep", "60"]).pid)\ntime.sleep(60)'
    with pytest.raises(Cancelled):
        await run(tmp_path, body, on_message=on_message, cancelled=cancelled)
    assert len(pids) == 1
    assert is_gone(pids[0])


async def test_child_that_is_asked_to_stop_may_still_give_a_result(tmp_path: Path) -> None:
    cancelled, stop = asyncio.Event(), tmp_path / "stop"
    body = """send(message="on")
while not os.path.exists(spec["stop"]): time.sleep(0.01)
return {"stopped": True}"""
    result, _ = await run(
        tmp_path,
        body,
        {"stop": str(stop)},
        on_message=lambda _: cancelled.set(),
        cancelled=cancelled,
        ask_to_stop=lambda: stop.touch() or 20.0,
    )
    assert result == {"stopped": True}


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from db.child_process import run_child
body = {PROLOGUE!r} + "    send(pid=os.getpid()); time.sleep(60)\\nsys.exit(serve(work))"
asyncio.run(run_child([sys.executable, "-c", body], {{}}, log=Path({str(tmp_path / "log")!r}),
    on_message=lambda sent: print(sent["pid"], flush=True), cancelled=None))
"""
    log = tmp_path / "pid"
    parent = ChildProcess.start([sys.executable, "-c", program], log=log)
    while not log.exists() or not log.read_text().strip():
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGKILL)
    assert is_gone(int(log.read_text()))
    parent.end()


def test_process_that_runs_on_is_found_again_by_pid_and_start(tmp_path: Path) -> None:
    child = ChildProcess.start(["sh", "-c", "sleep 60 & sleep 60"], log=tmp_path / "log")
    found = ChildProcess(child.pid, child.started)
    started = replace(child.started, seconds=child.started.seconds + 100)
    later = ChildProcess(child.pid, started)  # another process of this number
    assert (found.is_alive(), later.is_alive(), later.members()) == (True, False, [])
    while len(found.members()) < 3:
        time.sleep(0.02)
    child.end(grace_s=1)
    assert (found.is_alive(), found.members(), child.exit_code) == (False, [], -signal.SIGTERM)


def test_a_clock_that_is_set_and_a_new_boot_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a laptop wakes up, or a machine learns the time from the network."""
    child = ChildProcess.start(["sh", "-c", "sleep 60 & sleep 60"], log=tmp_path / "log")
    found = ChildProcess(child.pid, child.started)
    while len(found.members()) < 3:
        time.sleep(0.02)
    other = ChildProcess(child.pid, replace(child.started, boot="another"))
    assert (other.is_alive(), other.members()) == (False, [])
    jumped = psutil.boot_time() + 3600
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: jumped)
    assert (found.is_alive(), len(found.members())) == (True, 3)
    child.end(grace_s=1)
    assert found.members() == []


def test_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == "it wrote nothing"
    log.write_text("first\nTypeError: why\n\n")
    assert last_line(log) == "TypeError: why"


async def test_work_is_cut_off_once_it_is_cancelled() -> None:
    cancelled, ended = asyncio.Event(), asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return 1

    asyncio.get_running_loop().call_later(0.05, cancelled.set)
    with pytest.raises(Cancelled):
        await unless_cancelled(work(), cancelled)
    assert ended.is_set()
    assert await unless_cancelled(asyncio.sleep(0, "done"), None) == "done"


def is_gone(pid: int) -> bool:
    for _ in range(250):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False
