"""What the child tells its parent, and why training failed."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from db.child_process import send
from db.errors import DISK_FULL

_DISK = ("no space left", "pytorchstreamwriter failed", "unexpected pos")
"""The last two are what ``torch.save`` says of a full disk."""
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
LONGEST_UNSAVED_S = 300.0
"""What a run may lose to whatever ends it."""


class Events:
    """Tells the parent what happens; the last event says how it ended."""

    def __init__(self, *, speaks: bool = True) -> None:
        self._speaks = speaks
        """False in all but the first of several processes: they tell only of failures."""

    def write(self, event: str, **values: Any) -> None:
        """Tell of one event."""
        if event == "failed":  # whichever process fails first knows why
            send(error=values["message"], kind=values["kind"])
        elif not self._speaks:
            return
        elif event in ("done", "stopped"):
            send(result={"event": event, **values})
        else:
            send(event=event, **values)


def failure_of(error: BaseException) -> dict[str, str]:
    """Return why training failed: ``kind`` is memory, disk or bug."""
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0][:300]
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _MEMORY):
        return {"kind": "memory", "message": first}
    full = isinstance(error, OSError) and error.errno in DISK_FULL
    if full or any(sign in text.lower() for sign in _DISK):
        return {"kind": "disk", "message": first}
    if isinstance(error, ArithmeticError):
        return {"kind": "bug", "message": first}
    return {"kind": "bug", "message": f"{type(error).__name__}: {first}"}


def check_finite(loss: float, step: int) -> None:
    """Refuse to go on with a loss that is no number: the adapter is lost then.

    Raises:
        ArithmeticError: It is not finite.
    """
    if not math.isfinite(loss):
        raise ArithmeticError(
            f"the loss is no number in step {step}; set a lower learning_rate or a longer warmup"
        )


class SaveTimer:
    """Says when another checkpoint is due by the clock."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count from now: a checkpoint was written, or training began."""
        self._since = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is too old."""
        return time.monotonic() - self._since >= LONGEST_UNSAVED_S


class Phases:
    """Counts the seconds of each phase; a phase within another stops the outer one's clock."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._names = ["starting"]
        self._seconds: dict[str, float] = defaultdict(float)
        self._since = time.monotonic()
        self._seconds["starting"] = time.time() - psutil.Process().create_time()

    def begin(self, name: str) -> None:
        """Let the phase at hand be followed by ``name``."""
        self._count()
        self._names[-1] = name
        self._write()

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Count what happens here as ``name``, then go on with the phase before."""
        self._count()
        self._names.append(name)
        self._write()
        try:
            yield
        finally:
            self._count()
            self._names.pop()
            self._write()

    def end(self) -> None:
        """Write the last account."""
        self._count()
        self._write()

    def _count(self) -> None:
        now = time.monotonic()
        self._seconds[self._names[-1]] += now - self._since
        self._since = now

    def _write(self) -> None:
        rounded = {name: round(seconds, 1) for name, seconds in self._seconds.items()}
        self._events.write("phase", name=self._names[-1], seconds=rounded)
