"""What Home says: the next step for this store, and each model server in plain words."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from db.engines import LOCAL, EngineRow
from db.jobs import JobRow

READING_ONLY = "Q2Q_READING_ONLY"
"""Set in the environment of a page that has no worker beside it."""
Step = Literal["import", "first_sweep", "watch", "look", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """How much the store holds."""

    questions: int
    variants: int
    answers: int
    sweeps: int


def next_step(counts: StoreCounts, jobs: Sequence[JobRow]) -> Step:
    """Return what to do next: bring questions, start a sweep, watch it, or look at its texts."""
    if counts.questions == 0:
        return "import"
    if any(job.kind == "sweep" for job in jobs):
        return "watch"
    if counts.sweeps == 0:
        return "first_sweep"
    return "look" if counts.variants + counts.answers else "open"


def is_reading_only() -> bool:
    """Tell whether ``q2q up --no-engine`` started this page: no worker runs beside it."""
    return bool(os.environ.get(READING_ONLY))


def is_moving(engines: Sequence[EngineRow], jobs: Sequence[JobRow]) -> bool:
    """Tell whether something changes by itself, so that the page should look again soon."""
    return (
        (not engines and not is_reading_only())
        or bool(jobs)
        or any(
            engine.state in ("starting", "unhealthy")
            or (engine.wanted and engine.state == "stopped")
            for engine in engines
        )
    )


def can_start(engine: EngineRow) -> bool:
    """Tell whether a person may start the server: only the workbench's own."""
    return engine.name == LOCAL and (not engine.wanted or engine.state == "failed")


def can_stop(engine: EngineRow) -> bool:
    """Tell whether a person may stop the server: only the workbench's own."""
    return engine.name == LOCAL and engine.wanted and engine.state != "failed"


def job_share(job: JobRow) -> float | None:
    """Return how much of ``job`` is done, 0 to 1; None where its total is unknown."""
    return min(1.0, job.done / job.total) if job.total else None
