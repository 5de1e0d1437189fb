"""Running jobs: what they do, how far they are, how long they still take, cancel."""

from collections.abc import Mapping, Sequence

import streamlit as st

from db.database import Database
from db.jobs import JobRow, request_cancel
from workbench.ui.components.device_note import draw_device_note
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card, head_row, state_badge
from workbench.ui.components.sentences import said
from workbench.ui.components.text import escaped, one_line
from workbench.ui.home.view import job_share


def draw_jobs(database: Database, jobs: Sequence[JobRow], sweep_names: Mapping[int, str]) -> None:
    """Draw a card for each job that waits or runs."""
    for job in jobs:
        with card(f"job_{job.id}"):
            with head_row(f"job_{job.id}"):
                name = sweep_names.get(job.sweep_id or 0)
                title = word("job.kind", job.kind) + (f" · {escaped(name)}" if name else "")
                st.markdown(f"**{title}**", width="content")
                state_badge(job.state)
                st.space("stretch")
                if job.sweep_id is not None:
                    st.page_link(
                        "ui/sweeps/page.py",
                        label=t("job.open"),
                        icon=":material/open_in_new:",
                        query_params={"sweep": str(job.sweep_id)},
                    )
                draw_cancel(database, job)
            draw_progress(job)


def draw_progress(job: JobRow) -> None:
    """Draw the bar of ``job`` and what its worker says: what it does, how fast, how long still."""
    share = job_share(job)
    message = escaped(one_line(said(job.message or ""), 200))
    if share is not None:
        done = t("job.progress", done=job.done, total=job.total)
        st.progress(share, text=f"{done} · {message}" if message else done)
    elif message:
        st.caption(message)
    if job.state == "queued":
        draw_device_note()


def draw_cancel(database: Database, job: JobRow) -> None:
    """Draw the button that asks for the end of ``job``."""
    asked = job.cancel_requested_at is not None
    if st.button(
        t("job.cancelling") if asked else t("job.cancel"),
        key=f"cancel_{job.id}",
        icon=":material/cancel:",
        type="tertiary",
        disabled=asked,
    ):
        with database.write() as session:
            request_cancel(session, job.id)
        st.rerun()
