"""The job of training: a run in its child process, alone on the device."""

from typing import Any

from sqlalchemy.orm import Session

from db.jobs import active_jobs, enqueue, request_cancel
from db.training import set_run_state
from training.runs.run import TrainingOutcome, run_training
from workbench.jobs.worker import Interrupted, JobContext


async def train(context: JobContext) -> dict[str, Any]:
    """Train a run, or go on with it. Payload: ``run_id``."""
    return (await train_run(context, int(context.job.payload["run_id"]))).as_json()


async def train_run(context: JobContext, run_id: int) -> TrainingOutcome:
    """Train a run as part of a job.

    Raises:
        Interrupted: It was told to stop; the run can be resumed.
        Q2QError: It failed.
    """
    outcome = await run_training(
        context.database,
        context.settings,
        run_id,
        on_progress=context.report,
        cancelled=context.cancelled,
    )
    if outcome.state == "cancelled":
        if not context.by_request:  # only the worker stops; the next one goes on
            with context.database.write() as session:
                set_run_state(session, run_id, "queued")
        raise Interrupted
    return outcome


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
