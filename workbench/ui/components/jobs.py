"""Jobs as pages show them: what they do, how far they are, cancel, what the device is busy with."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import streamlit as st
from sqlalchemy.orm import Session

from db.jobs import JobRow, active_jobs, request_cancel
from db.rounds import ON_DEVICE, find_round
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import duration
from workbench.ui.components.parts import card, head_row, state_badge
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, told

PAGES = {
    "sweep": ("sweeps", "sweep"),
    "round": ("rounds", "round"),
    "train": ("training", "run"),
    "merge": ("training", "run"),
}
"""Kind of a job → its page, and what the address of that page says."""

UNITS = {"sweep": "texts", "train": "steps"}
"""Kind of a job → what it counts, where that is one thing from its start to its end."""


def draw_jobs(jobs: Sequence[JobRow], names: Mapping[int, str]) -> None:
    """Draw a card for each job that waits or runs; ``names`` tells what jobs are about, by job."""
    for job in jobs:
        with card(f"job_{job.id}"):
            with head_row(f"job_{job.id}"):
                st.markdown(f"**{job_title(job, names)}**", width="content")
                state_badge(job.state)
                st.space("stretch")
                page, name = PAGES.get(job.kind, ("", ""))
                about = job.sweep_id or job.payload.get(f"{name}_id")
                if about is not None:
                    page_link(page, t("job.open"), "open_in_new", **{name: about})
                draw_cancel(job)
            draw_progress(job)


def job_title(job: JobRow, names: Mapping[int, str]) -> str:
    """Return what a job does and what it is about, as Markdown."""
    name = names.get(job.id)
    return word("job.kind", job.kind) + (f" · {escaped(name)}" if name else "")


def draw_progress(job: JobRow) -> None:
    """Draw the bar of ``job`` and what its worker says: what it does, how fast, how long still."""
    share = job_share(job)
    message = told(job.message or "", 200)
    if share is not None:
        unit = UNITS.get(job.kind)
        key = f"job.progress.{unit}" if unit else "job.progress"
        done = t(key, done=job.done, total=job.total)
        st.progress(share, text=f"{done} · {message}" if message else done)
    elif message:
        st.caption(message)
    if job.state == "queued":
        draw_device_note()


def draw_cancel(job: JobRow) -> None:
    """Draw the button that asks for the end of ``job``."""
    asked = job.cancel_requested_at is not None
    if st.button(
        t("job.cancelling") if asked else t("job.cancel"),
        key=f"cancel_{job.id}",
        icon=":material/cancel:",
        type="tertiary",
        disabled=asked,
    ):
        with database().write() as session:
            request_cancel(session, job.id)
        st.rerun()


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
        text = t("device.busy_until", what=what, left=duration(left))
        st.caption(f":material/hourglass_top: {text}")


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


def job_share(job: JobRow) -> float | None:
    """Return how much of ``job`` is done, 0 to 1; None where its total is unknown."""
    return min(1.0, job.done / job.total) if job.total else None
