"""Training runs by meaning: written, listed, found; their curves and their sample texts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import existing
from db.identity import number_in
from db.jobs import active_jobs, enqueue, request_cancel
from db.store.archive import in_use
from db.tables import TrainingMetric, TrainingRun, utc_now
from db.tables.base import as_row

RunState = Literal["queued", "running", "done", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One training run as it was when read."""

    id: int
    dataset_id: int
    base_model_version_id: int
    adapter_model_version_id: int | None
    """The adapter it made; None until then."""
    method: str
    """As ``training.methods`` names it."""
    config: dict[str, Any]
    """``spec`` as asked for, ``preset``, ``why``, ``settings`` as resolved, ``dataset_hash``,
    ``base_digest``, ``format``."""
    state: str
    folder: str | None
    versions: dict[str, Any]
    summary: dict[str, Any]
    """Last figures: ``step``, ``total``, ``seconds``, ``loss``, ``held_out_loss`` and so on."""
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    archived_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of a run, by step."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """What the model wrote for a held-out question at one step, greedily."""

    step: int
    question_id: int
    question: str
    text: str
    stopped: bool
    """It ended by itself."""


def create_run(
    session: Session,
    *,
    dataset_id: int,
    base_model_version_id: int,
    method: str,
    config: Mapping[str, Any],
) -> RunRow:
    """Write a queued run and return it."""
    run = TrainingRun(
        dataset_id=dataset_id,
        base_model_version_id=base_model_version_id,
        method=method,
        config=dict(config),
    )
    session.add(run)
    session.flush()
    return as_row(RunRow, run)


def get_run(session: Session, run_id: int) -> RunRow:
    """Return one run.

    Raises:
        UsageError: There is none with this number.
    """
    run = session.get(TrainingRun, run_id, populate_existing=True)
    missing = f"There is no training run {run_id}; `q2q train list` shows them all."
    return as_row(RunRow, existing(run, missing))


def find_run(session: Session, reference: str | int) -> RunRow:
    """Return the run that a person means: its number, with or without a ``t`` before it.

    Raises:
        UsageError: There is none.
    """
    text = str(reference)
    missing = f"{text!r} is no number of a training run; `q2q train list` shows them all."
    return get_run(session, existing(number_in(text, "t?"), missing))


def list_runs(
    session: Session, limit: int | None = None, *, archived: bool = False
) -> list[RunRow]:
    """Return the runs in use, or those archived, the newest first."""
    listed = select(TrainingRun).where(in_use(TrainingRun, archived))
    query = listed.order_by(TrainingRun.id.desc()).limit(limit)
    return [as_row(RunRow, run) for run in session.scalars(query)]


def set_run_state(
    session: Session,
    run_id: int,
    state: RunState,
    *,
    error: str | None = None,
    adapter_model_version_id: int | None = None,
) -> None:
    """Say where a run is; ``running`` and the final states keep their time."""
    run = session.get_one(TrainingRun, run_id)
    run.state, run.error = state, error
    if state == "running":
        run.started_at, run.finished_at = run.started_at or utc_now(), None
    elif state != "queued":
        run.finished_at = utc_now()
    if adapter_model_version_id is not None:
        run.adapter_model_version_id = adapter_model_version_id


def update_run(
    session: Session,
    run_id: int,
    *,
    folder: str | None = None,
    versions: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Note where the run's files are, what it ran with, and its last figures (added to others)."""
    run = session.get_one(TrainingRun, run_id)
    run.folder = folder or run.folder
    run.versions = dict(versions) if versions is not None else run.versions
    run.summary = {**run.summary, **(summary or {})}


def add_metrics(session: Session, run_id: int, values: Iterable[tuple[str, int, float]]) -> None:
    """Store (name, step, value); a value of a step that is known takes the place of the old one."""
    for name, step, value in values:
        session.merge(TrainingMetric(run_id=run_id, name=name, step=step, value=value))


def run_curves(
    session: Session, run_id: int, names: Collection[str] | None = None, *, after_step: int = -1
) -> dict[str, Curve]:
    """Return the curves of a run by name; ``after_step`` leaves out what was read before."""
    query = select(TrainingMetric.name, TrainingMetric.step, TrainingMetric.value).where(
        TrainingMetric.run_id == run_id, TrainingMetric.step > after_step
    )
    if names is not None:
        query = query.where(TrainingMetric.name.in_(names))
    points: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in session.execute(
        query.order_by(TrainingMetric.name, TrainingMetric.step)
    ):
        points.setdefault(name, []).append((step, value))
    return {
        name: Curve(
            name=name,
            steps=tuple(step for step, _ in found),
            values=tuple(value for _, value in found),
        )
        for name, found in points.items()
    }


def differing_settings(runs: Sequence[RunRow]) -> dict[str, list[Any]]:
    """Return the settings in which runs differ, each with its value in each run."""
    told = [
        {"dataset": run.config.get("dataset"), "base": run.config.get("base"),
         "method": run.method, **run.config.get("settings", {})}
        for run in runs
    ]  # fmt: skip
    names = dict.fromkeys(name for one in told for name in one)
    values = {name: [one.get(name) for one in told] for name in names}
    return {name: found for name, found in values.items() if any(v != found[0] for v in found)}


def add_samples(session: Session, run_id: int, samples: Iterable[SampleRow]) -> None:
    """Store sample texts; those of a step and question that are known are replaced."""
    run = session.get_one(TrainingRun, run_id)
    known = {(one["step"], one["question_id"]): one for one in run.summary.get("samples", [])}
    for sample in samples:
        known[sample.step, sample.question_id] = asdict(sample)
    run.summary = {**run.summary, "samples": [known[key] for key in sorted(known)]}


def run_samples(session: Session, run_id: int) -> list[SampleRow]:
    """Return the sample texts of a run by step, then question."""
    run = session.get_one(TrainingRun, run_id)
    return [SampleRow(**one) for one in run.summary.get("samples", [])]


def enqueue_training(session: Session, run_id: int) -> int:
    """Queue a run and return the job's id; one that is active already is kept."""
    for job in active_jobs(session, kind="train"):
        if job.payload.get("run_id") == run_id and job.cancel_requested_at is None:
            return job.id
    set_run_state(session, run_id, "queued")
    return enqueue(session, "train", lane="device", payload={"run_id": run_id})


def cancel_training(session: Session, run_id: int) -> bool:
    """Ask for the end of a run; False if it neither waits nor trains."""
    jobs = [
        job for job in active_jobs(session, kind="train") if job.payload.get("run_id") == run_id
    ]
    for job in jobs:
        request_cancel(session, job.id)
        if job.state == "queued":
            set_run_state(session, run_id, "cancelled")
    return bool(jobs)
