"""The workers of a store that has several: where each is, what it works at, when it last told."""

from collections.abc import Mapping, Sequence

import streamlit as st

from db.jobs import JobRow
from db.workers.live import WorkerRow
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import job_title
from workbench.ui.components.parts import card, head_row, section
from workbench.ui.components.text import escaped


def draw_workers(
    workers: Sequence[WorkerRow], jobs: Sequence[JobRow], names: Mapping[int, str]
) -> None:
    """Draw the live workers; one alone goes without saying."""
    if len(workers) < 2:
        return
    section(t("workers.title"), t("workers.help"))
    by_id = {job.id: job for job in jobs}
    with card("workers"):
        for worker in workers:
            work = [job_title(by_id[one], names) for one in worker.job_ids if one in by_id]
            with head_row(f"worker_{worker.id}"):
                st.markdown(f"**{escaped(str(worker))}**", width="content")
                st.markdown("; ".join(work) or t("workers.idle"), width="content")
                st.space("stretch")
                st.caption(t("workers.heartbeat", n=worker.silent_s), width="content")
