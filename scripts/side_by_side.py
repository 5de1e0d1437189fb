"""Run commands side by side and show what each of them says, line by line, under its name.

    python scripts/side_by_side.py NAME COMMAND [NAME COMMAND ...]

Each COMMAND is one argument, as one would type it. All go on to their end, so that one run tells
all that fails; the last lines of what failed stand once more at the very end. The exit code is 0 if
all ended well, 130 after Ctrl-C, and otherwise that of the first command, in the order given, that
failed.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue

COULD_NOT_START = 127
INTERRUPTED = 130
LAST_LINES = 40
"""So many lines of a command that failed are shown again."""
Said = tuple[str, str | int]
"""Who, and a line of its output or, in the end, its exit code."""


def main(arguments: Sequence[str]) -> int:
    """Run the named commands of ``arguments`` and return the exit code."""
    if not arguments or len(arguments) % 2:
        sys.stderr.write("Give each command its name: side_by_side.py NAME COMMAND ...\n")
        return 2
    names, commands = arguments[::2], arguments[1::2]
    said: SimpleQueue[Said] = SimpleQueue()
    interrupts: list[int] = []
    # The commands have Ctrl-C too, and may tidy up. An exception here could lose a line of theirs.
    signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    for pair in zip(names, commands, strict=True):
        threading.Thread(target=_run, args=(*pair, said)).start()
    codes = _show(said, names)
    failed = next((codes[name] for name in names if codes[name]), 0)
    return INTERRUPTED if interrupts else failed


def _run(name: str, command: str, said: SimpleQueue[Said]) -> None:
    """Run a command to its end and tell what it says."""
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        said.put((name, str(error)))
        said.put((name, COULD_NOT_START))
        return
    with process:
        for line in process.stdout or ():
            said.put((name, line.rstrip("\n")))
        # Only this way of waiting tells the processor's time, that of grandchildren included.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took = f"{time.monotonic() - started:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of one core"
    said.put((name, f"ended with {process.returncode} after {took}"))
    said.put((name, process.returncode))


def _show(said: SimpleQueue[Said], names: Sequence[str]) -> dict[str, int]:
    """Show lines until all have ended; return the exit codes."""
    width = max(map(len, names))
    codes: dict[str, int] = {}
    last: dict[str, deque[str]] = {name: deque(maxlen=LAST_LINES) for name in names}
    while len(codes) < len(names):
        name, what = said.get()
        if isinstance(what, int):
            codes[name] = what
        else:
            line = f"{name:{width}} | {what}\n"
            last[name].append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
    if failed := [name for name in names if codes[name]]:
        sys.stdout.write(f"\nFailed: {', '.join(failed)}. Their last lines:\n")
        sys.stdout.writelines(line for name in failed for line in last[name])
        sys.stdout.flush()
    return codes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
