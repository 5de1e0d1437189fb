"""A command that waits for its job: how far it is, what goes on, and how to resume."""

from db.database import Database
from db.errors import Q2QError
from db.jobs import JobRow, get_job
from db.settings import Settings
from workbench.cli.output import say
from workbench.cli.progress import open_progress
from workbench.worker.follow import run_job


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
        with open_progress() as progress:
            job = run_job(settings, database, job_id, progress.update, command=command)
    except KeyboardInterrupt:
        with database.read() as session:
            goes_on = get_job(session, job_id).is_active
        say(
            f"{what} goes on in the worker. To stop it: {cancel}"
            if goes_on
            else f"Stopped; nothing is lost. To go on: {resume}"
        )
        raise
    if job.state != "done":
        why = job.error or cancelled or f"{what} was cancelled."
        raise Q2QError(f"{why} To go on: {resume}")
    return job
