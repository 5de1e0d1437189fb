"""The workers of a store that has several: where each is, what it works at, when it last told."""

from collections.abc import Mapping, Sequence

import streamlit as st

from db.jobs import JobRow
from db.workers.live import WorkerRow
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card, head_row, section
from workbench.ui.components.text import escaped


def draw_workers(
    workers: Sequence[WorkerRow], jobs: Sequence[JobRow], sweep_names: Mapping[int, str]
) -> None:
    """Draw the live workers; one alone goes without saying."""
    if len(workers) < 2:
        return
    section(t("workers.title"), t("workers.help"))
    by_id = {job.id: job for job in jobs}
    with card("workers"):
        for worker in workers:
            work = [_name(by_id[one], sweep_names) for one in worker.job_ids if one in by_id]
            with head_row(f"worker_{worker.id}"):
                st.markdown(f"**{escaped(str(worker))}**", width="content")
                st.markdown("; ".join(work) or t("workers.idle"), width="content")
                st.space("stretch")
                st.caption(t("workers.heartbeat", n=worker.silent_s), width="content")


def _name(job: JobRow, sweep_names: Mapping[int, str]) -> str:
    name = sweep_names.get(job.sweep_id or 0)
    return word("job.kind", job.kind) + (f" · {escaped(name)}" if name else "")
