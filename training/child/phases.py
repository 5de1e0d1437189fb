"""What the time of a run goes into: loading, steps, held-out rows, sample texts, checkpoints."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from training.child.events import Events


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
