"""How far long work is, on stderr: a bar on a terminal, a line every few seconds in a pipe."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from workbench.cli.output import safe, say

LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Shows how far a job is; use it in a ``with`` block."""

    def update(self, done: int, total: int | None, message: str) -> None:
        """Show the state now."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_progress() -> Progress:
    """Return what suits stderr."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class LineProgress:
    """A plain line every few seconds, and only if something changed."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s = every_s
        self._last = ""
        self._due = 0.0

    def update(self, done: int, total: int | None, message: str) -> None:
        """Write a line if one is due."""
        count = f"{done} of {total}: " if total else ""
        line = f"{count}{message}"
        now = time.monotonic()
        if line != self._last and now >= self._due:
            say(line)
            self._last, self._due = line, now + self._every_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left to tidy up."""


class BarProgress:
    """A bar that is redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bars.add_task("", total=None)

    def update(self, done: int, total: int | None, message: str) -> None:
        """Redraw the bar."""
        self._bars.update(self._task, completed=done, total=total, description=safe(message))

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
