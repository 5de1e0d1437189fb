"""Home: what to do next, where the project stands, running jobs, models and engines."""

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from db.engines import EngineRow, list_engines
from db.jobs import JobRow
from db.models import ModelRow, list_models
from db.workers.live import WorkerRow, live_workers
from workbench.project import NextStep, ProjectState, project_state
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_jobs, job_title
from workbench.ui.components.live import live
from workbench.ui.components.parts import card, empty_state, head_row, heading, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped
from workbench.ui.home.cards import (
    draw_next_step,
    draw_stages,
    is_moving,
    is_reading_only,
)
from workbench.ui.models.servers import draw_engines

Live = tuple[list[EngineRow], ProjectState, dict[int, ModelRow], list[WorkerRow]]


def draw() -> None:
    """Read, shape, draw."""
    heading(t("home.title"), t("home.lead"))
    found = _read()
    step = found[1].next, _has_model(found)
    draw_next_step(*step)
    draw_now = partial(_draw_live, step)
    live(found, _read, lambda now: is_moving(now[0], now[1].jobs), draw_now)
    page_link("models", t("home.add_model"), "add_link", add="server")


def _read() -> Live:
    with database().read() as session:
        known = list_models(session, with_removed=True, with_served=True, archived=None)
        models = {model.id: model for model in known}
        return list_engines(session), project_state(session), models, live_workers(session)


def _has_model(found: Live) -> bool:
    return any(model.state != "removed" for model in found[2].values())


def _draw_live(drawn: tuple[NextStep, bool], now: Live) -> None:
    """Draw stages, jobs and engines as they are now; the page anew once another step is next."""
    engines, state, models, workers = now
    if drawn != (state.next, _has_model(now)):
        st.rerun()
    draw_stages(state)
    jobs, names = state.jobs, state.names
    if jobs:
        section(t("home.jobs"), t("home.jobs_help"))
        draw_jobs(jobs, names)
    _draw_workers(workers, jobs, names)
    section(t("home.engines"), t("home.engines_help"))
    if engines:
        draw_engines(engines, models)
    else:
        kind = "reading_only" if is_reading_only() else "no_engine"
        empty_state("engine", "dns", f"home.{kind}")


def _draw_workers(
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


draw()
