"""Home: what to do next, how much is stored, models and engines, running jobs."""

import streamlit as st

from db.engines import list_engines
from db.jobs import active_jobs
from db.models import list_models
from db.sweeps import list_sweeps
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_jobs
from workbench.ui.components.parts import empty_state, figures, heading, section
from workbench.ui.components.store import count_store, database
from workbench.ui.home.engines import draw_add_server, draw_engines
from workbench.ui.home.next_step import draw_next_step, is_moving, is_reading_only, next_step

POLL_S = 2.0


def draw() -> None:
    """Read, shape, draw."""
    store = database()
    with store.read() as session:
        counts = count_store(session)
        jobs = active_jobs(session)
        engines = list_engines(session)
        sweeps = list_sweeps(session, limit=1)
        has_model = bool(list_models(session))
    heading(t("home.title"), t("home.lead"))
    draw_next_step(
        store, next_step(counts, jobs), sweeps[0].sweep_id if sweeps else None, has_model
    )
    figures(
        "home",
        [
            (t(f"count.{name}"), getattr(counts, name), t(f"count.{name}_help"))
            for name in ("questions", "variants", "answers", "sweeps")
        ],
    )
    # The part that changes by itself is drawn again and again only while something moves.
    poll = POLL_S if is_moving(engines, jobs) else None
    st.fragment(run_every=poll)(draw_live)(moving=poll is not None, had_model=has_model)
    draw_add_server(store)


def draw_live(*, moving: bool, had_model: bool) -> None:
    """Draw the engines and jobs as they are now.

    The whole page is drawn again once all is still, and when the first model appears.
    """
    store = database()
    with store.read() as session:
        engines = list_engines(session)
        models = {model.id: model for model in list_models(session, with_removed=True)}
        jobs = active_jobs(session)
        sweep_names = (
            {row.sweep_id: row.name for row in list_sweeps(session, limit=50)} if jobs else {}
        )
    has_model = any(model.state != "removed" for model in models.values())
    if (moving and not is_moving(engines, jobs)) or (has_model and not had_model):
        st.rerun()
    if jobs:
        section(t("home.jobs"), t("home.jobs_help"))
        draw_jobs(store, jobs, sweep_names)
    section(t("home.engines"), t("home.engines_help"))
    if engines:
        draw_engines(store, engines, models)
    else:
        kind = "reading_only" if is_reading_only() else "no_engine"
        empty_state("engine", ":material/dns:", t(f"home.{kind}.title"), t(f"home.{kind}.text"))


draw()
