"""What the pages say of a sweep: its figures, and what can be done with it now."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.jobs import JobRow
from db.sweeps import SweepRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """Which buttons a sweep has now."""

    cancel: bool
    resume: bool
    retry: bool


def actions(sweep: SweepRow, jobs: Sequence[JobRow]) -> Actions:
    """Return what can be done: a moving sweep can be cancelled, a resting one taken up again."""
    moving = bool(jobs)
    return Actions(
        cancel=moving,
        resume=not moving and sweep.progress.pending > 0,
        retry=not moving and sweep.failed > 0,
    )


def share(sweep: SweepRow) -> float:
    """Return how much of the sweep has an outcome, 0 to 1."""
    settled = sweep.done + sweep.failed + sweep.blocked
    return min(1.0, settled / sweep.cells) if sweep.cells else 1.0


def tokens_per_s(sweep: SweepRow) -> float | None:
    """Return completion tokens per second of running; None where nothing ran or told its length."""
    progress = sweep.progress
    if progress.completion_tokens is None or sweep.active_s <= 0:
        return None
    return progress.completion_tokens / sweep.active_s


def shown_state(sweep: SweepRow, jobs: Sequence[JobRow]) -> str:
    """Return the state for people: a stopped sweep that lacks texts is not called done."""
    if jobs:
        return jobs[0].state
    if sweep.state in ("queued", "running"):
        return "cancelled"
    return sweep.state
