"""What people who wait for the model server are told while training has the device to itself."""

from datetime import UTC, datetime

import streamlit as st
from sqlalchemy.orm import Session

from db.jobs import JobRow, active_jobs
from db.rounds import find_round
from workbench.ui.components.i18n import t, word
from workbench.ui.components.numbers import duration
from workbench.ui.components.store import database
from workbench.worker.steps import ON_DEVICE


def draw_device_note() -> None:
    """Say which job has the device, how far it is, and about how long it will still take."""
    with database().read() as session:
        job = device_job(session)
    if job is None:
        return
    what, left = word("job.kind", job.kind), seconds_left(job, datetime.now(UTC))
    if left is None:
        st.caption(f":material/hourglass_top: {t('device.busy', what=what)}")
    else:
        said = t("device.busy_until", what=what, left=duration(left))
        st.caption(f":material/hourglass_top: {said}")


def device_job(session: Session) -> JobRow | None:
    """Return the running job that has the device to itself; None where none has."""
    for job in active_jobs(session):
        if job.state != "running":
            continue
        if job.lane == "device":
            return job
        if job.kind == "round" and find_round(session, job.payload["round_id"]).step in ON_DEVICE:
            return job
    return None


def seconds_left(job: JobRow, now: datetime) -> float | None:
    """Return how long the work will still take at its pace so far; None where nobody knows.

    Steps of a round differ too much to be told from each other.
    """
    if job.kind == "round" or not job.total or not job.done or job.started_at is None:
        return None
    worked_s = max(0.0, (now - job.started_at).total_seconds())  # a clock may be set back
    return worked_s * (job.total - job.done) / job.done
