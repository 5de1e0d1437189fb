"""Home: what to do next, how much is stored, models and engines, running jobs."""

from functools import partial

import streamlit as st

from db.engines import EngineRow, list_engines
from db.jobs import JobRow, active_jobs
from db.models import ModelRow, list_models
from db.sweeps import list_sweeps
from db.workers.live import WorkerRow, live_workers
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_jobs
from workbench.ui.components.live import live
from workbench.ui.components.parts import empty_state, figures, heading, section
from workbench.ui.components.store import count_store, database
from workbench.ui.home.cards import (
    draw_add_server,
    draw_engines,
    draw_next_step,
    is_moving,
    is_reading_only,
    next_step,
)
from workbench.ui.home.workers import draw_workers

Live = tuple[list[EngineRow], list[JobRow], dict[int, ModelRow], dict[int, str], list[WorkerRow]]


def draw() -> None:
    """Read, shape, draw."""
    with database().read() as session:
        counts = count_store(session)
        jobs = active_jobs(session)
        sweeps = list_sweeps(session, limit=1)
        has_model = bool(list_models(session))
    heading(t("home.title"), t("home.lead"))
    draw_next_step(next_step(counts, jobs), sweeps[0].sweep_id if sweeps else None, has_model)
    figures(
        "home",
        [
            (t(f"count.{name}"), getattr(counts, name), t(f"count.{name}_help"))
            for name in ("questions", "variants", "answers", "sweeps")
        ],
    )
    draw_now = partial(_draw_live, had_model=has_model)
    live(_read(), _read, lambda now: is_moving(now[0], now[1]), draw_now)
    draw_add_server()


def _read() -> Live:
    with database().read() as session:
        jobs = active_jobs(session)
        names = {row.sweep_id: row.name for row in list_sweeps(session, limit=50)} if jobs else {}
        models = {
            model.id: model for model in list_models(session, with_removed=True, with_served=True)
        }
        return list_engines(session), jobs, models, names, live_workers(session)


def _draw_live(now: Live, *, had_model: bool) -> None:
    """Draw the engines and jobs as they are now; the page anew when the first model appears."""
    engines, jobs, models, sweep_names, workers = now
    if not had_model and any(model.state != "removed" for model in models.values()):
        st.rerun()
    if jobs:
        section(t("home.jobs"), t("home.jobs_help"))
        draw_jobs(jobs, sweep_names)
    draw_workers(workers, jobs, sweep_names)
    section(t("home.engines"), t("home.engines_help"))
    if engines:
        draw_engines(engines, models)
    else:
        kind = "reading_only" if is_reading_only() else "no_engine"
        empty_state("engine", "dns", f"home.{kind}")


draw()
