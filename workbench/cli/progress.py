"""Work that takes long: a job seen to its end, an import; how far it is, on stderr.

On a terminal that is a bar, in a pipe a line every few seconds.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from db.database import Database
from db.engines import list_engines
from db.errors import Q2QError, UsageError
from db.jobs import INTERACTIVE_PRIORITY, JobRow, enqueue, get_job, no_progress
from db.models import find_model
from db.settings import Settings
from serving.importers.encoding import EncodingGuessed
from serving.importers.questions import OnProgress, Phase
from serving.models.register import ensure_default_model
from serving.sweeps.selection import DEFAULT_MODEL
from workbench.cli.output import inform, safe
from workbench.worker import run_job

LINE_EVERY_S = 5.0
SOON_S = 1.0
"""An import that is done sooner says nothing of its progress."""


def watch_job(
    settings: Settings, database: Database, job_id: int, *, command: str, keep_server: bool = False
) -> JobRow:
    """See a job through with a progress bar, and return it; see ``workbench.worker.run_job``."""
    with open_progress() as progress:
        return run_job(
            settings, database, job_id, progress.update, command=command, keep_server=keep_server
        )


def open_progress() -> "BarProgress | LineProgress":
    """Return what shows how far work is, as it suits stderr; use it in a ``with`` block."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


@contextmanager
def import_progress() -> Iterator[OnProgress]:
    """Yield what an import tells its phase, how far it is, how fast, and how long it will take.

    Raises:
        KeyboardInterrupt: Ctrl-C; said is that nothing was imported.
    """
    meter = _Meter()
    due = time.monotonic() + SOON_S
    try:
        with open_progress() as progress:

            def on_progress(phase: Phase, done: int, total: int) -> None:
                now = time.monotonic()
                message = meter.message(phase, done, total, now)
                if now < due:
                    return
                in_bytes = phase == "reading" and total > 0
                unit = 1_000 if in_bytes else 1
                progress.update(done // unit, total // unit or None, message)

            yield on_progress
    except KeyboardInterrupt:
        inform("Stopped; nothing was imported.")
        raise


class _Meter:
    """The speed of an import in its phase."""

    def __init__(self) -> None:
        self._phase = ""
        self._since = 0.0
        self._begun_at = 0

    def message(self, phase: Phase, done: int, total: int, now: float) -> str:
        """Return what there is to say beside the bar."""
        if phase != self._phase:
            self._phase, self._since, self._begun_at = phase, now, done
        seconds = now - self._since
        in_bytes = phase == "reading" and total > 0
        what = "kB read" if in_bytes else _PHASES[phase]
        if seconds < 1 or done <= self._begun_at:
            return what
        rate = (done - self._begun_at) / seconds
        speed = f"{rate / 1e6:.1f} MB/s" if in_bytes else f"{rate:,.0f}/s"
        left = f", {(total - done) / rate:.0f} s left" if total > done else ""
        return f"{what}, {speed}{left}"


_PHASES = {"reading": "rows read", "checking": "texts checked", "writing": "rows written"}


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
            inform(line)
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


def follow_job(
    settings: Settings,
    database: Database,
    job_id: int,
    *,
    command: str,
    what: str,
    cancel: str,
    resume: str,
    cancelled: str | None = None,
) -> JobRow:
    """See a job through with a progress bar; return it once it is done.

    Args:
        settings: The workbench.
        database: Its store.
        job_id: The job, already written.
        command: What people see as holder of the lock.
        what: What the job works on, as a sentence begins, e.g. ``Sweep 3``.
        cancel: The command that stops it.
        resume: What continues it, as ``To go on:`` is completed.
        cancelled: What is said where it was cancelled; default names ``what``.

    Raises:
        KeyboardInterrupt: Ctrl-C; said is whether the job goes on in the worker.
        Q2QError: It failed or was cancelled.
    """
    try:
        job = watch_job(settings, database, job_id, command=command)
    except KeyboardInterrupt:
        with database.read() as session:
            goes_on = get_job(session, job_id).is_active
        inform(
            f"{what} goes on in the worker. To stop it: {cancel}"
            if goes_on
            else f"Stopped; nothing is lost. To go on: {resume}"
        )
        raise
    if job.state != "done":
        why = job.error or cancelled or f"{what} was cancelled."
        raise Q2QError("{why} To go on: {resume}", why=why, resume=resume)
    return job


def look_for_models(settings: Settings, database: Database, names: Sequence[str]) -> None:
    """Register the default model; ask remote servers where a model is not known yet."""
    if DEFAULT_MODEL in names:
        ensure_default_model(database, settings)
    if all(name == DEFAULT_MODEL or _is_known(database, name) for name in names):
        return
    with database.write() as session:
        if not settings.servers and all(e.kind == "child" for e in list_engines(session)):
            return
        job_id = enqueue(session, "probe_engine", priority=INTERACTIVE_PRIORITY)
    inform("Asking the model servers what they offer.")
    run_job(settings, database, job_id, no_progress, command="sweep run")


def _is_known(database: Database, name: str) -> bool:
    with database.read() as session:
        try:
            find_model(session, name)
        except UsageError:
            return False
    return True


Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", help="Read files that are not UTF-8 as this, e.g. cp932; never guessed."
    ),
]


@contextmanager
def naming_encoding_option() -> Iterator[None]:
    """Let a file whose encoding can only be guessed say how the guess is confirmed."""
    try:
        yield
    except EncodingGuessed as guessed:
        best = guessed.candidates[0].encoding
        raise UsageError(
            "{guessed} If it reads well, add --encoding {best}.", guessed=guessed, best=best
        ) from guessed
