"""Home: what to do next, where the project stands, running jobs, models and engines."""

from functools import partial

import streamlit as st

from db.engines import EngineRow, list_engines
from db.models import ModelRow, list_models
from db.workers.live import WorkerRow, live_workers
from workbench.project import NextStep, ProjectState, project_state
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_jobs
from workbench.ui.components.live import live
from workbench.ui.components.parts import empty_state, heading, section
from workbench.ui.components.store import database
from workbench.ui.home.cards import (
    draw_next_step,
    draw_stages,
    is_moving,
    is_reading_only,
)
from workbench.ui.home.workers import draw_workers
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
    draw_workers(workers, jobs, names)
    section(t("home.engines"), t("home.engines_help"))
    if engines:
        draw_engines(engines, models)
    else:
        kind = "reading_only" if is_reading_only() else "no_engine"
        empty_state("engine", "dns", f"home.{kind}")


draw()
