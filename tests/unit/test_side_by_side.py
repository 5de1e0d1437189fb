"""``scripts/side_by_side.py``, which ``make test`` runs its kinds of tests with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "side_by_side.py"
PYTHON = sys.executable


def side_by_side(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [PYTHON, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def program(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.py"
    path.write_text(text, "utf-8")
    return f"{PYTHON} {path}"


def test_each_line_is_shown_under_the_name_of_its_command(tmp_path: Path) -> None:
    one = program(tmp_path, "one", "print('a'); print('b')")
    other = program(tmp_path, "other", "import sys; sys.stderr.write('no newline')")
    ended = side_by_side("one", one, "other", other)
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert [line for line in lines if line.startswith("one   | ")][:2] == ["one   | a", "one   | b"]
    assert "other | no newline" in lines
    assert sum("ended with 0 after" in line for line in lines) == 2


def test_any_failure_fails_and_the_others_go_on_to_their_end(tmp_path: Path) -> None:
    slow = program(tmp_path, "slow", "import time; time.sleep(1); print('whole')")
    bad = program(tmp_path, "bad", "raise SystemExit(3)")
    for commands in (("slow", slow, "bad", bad), ("bad", bad, "slow", slow)):
        ended = side_by_side(*commands)
        assert ended.returncode == 3
        assert "slow | whole" in ended.stdout


def test_what_failed_stands_once_more_at_the_end(tmp_path: Path) -> None:
    bad = program(tmp_path, "bad", "print('why it failed'); raise SystemExit(3)")
    slow = program(tmp_path, "slow", "import time; time.sleep(1); print('all is well')")
    shown, _, again = side_by_side("bad", bad, "slow", slow).stdout.partition("\nFailed: bad.")
    assert "bad  | why it failed" in shown
    assert "slow | all is well" in shown
    assert "bad  | why it failed" in again
    assert "bad  | ended with 3 after" in again
    assert "slow" not in again
    assert "Failed" not in side_by_side("slow", slow).stdout


def test_they_run_at_the_same_time(tmp_path: Path) -> None:
    """Each waits for a file that the other writes."""
    text = "import pathlib, sys, time\npathlib.Path({mine!r}).touch()\n"
    text += "while not pathlib.Path({theirs!r}).exists(): time.sleep(0.01)\n"
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    one = program(tmp_path, "one", text.format(mine=a, theirs=b))
    other = program(tmp_path, "other", text.format(mine=b, theirs=a))
    assert side_by_side("one", one, "other", other).returncode == 0


def test_a_command_that_is_not_there_is_named() -> None:
    ended = side_by_side("gone", "/no/such/program")
    assert ended.returncode == 127
    assert "/no/such/program" in ended.stdout


def test_wrong_usage_is_told() -> None:
    ended = side_by_side("name without a command")
    assert ended.returncode == 2
    assert "NAME COMMAND" in ended.stderr


def test_ctrl_c_ends_all(tmp_path: Path) -> None:
    here = tmp_path / "here"
    text = f"""
import pathlib, time
try:
    pathlib.Path({str(here)!r}).touch()
    time.sleep(60)
except KeyboardInterrupt:
    print("tidied up")
"""
    process = subprocess.Popen(
        [PYTHON, str(SCRIPT), "waits", program(tmp_path, "waits", text)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whatever runs the tests may ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not here.exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert "waits | tidied up" in out
