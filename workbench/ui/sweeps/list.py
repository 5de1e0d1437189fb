"""The list of sweeps, newest first, and what their figures and buttons say."""

from collections.abc import Sequence

import streamlit as st

from db.jobs import JobRow, active_jobs
from db.sweeps import SweepRow, list_sweeps, sweeps_counted
from workbench.ui.components.archive import (
    draw_nothing_archived,
    draw_picked,
    draw_switch,
    pick_box,
    shows_archived,
)
from workbench.ui.components.controls import new_button, open_button, page_link, path_of
from workbench.ui.components.i18n import counted, t
from workbench.ui.components.labels import ago
from workbench.ui.components.live import live, wait_for
from workbench.ui.components.parts import (
    card,
    card_head,
    empty_state,
    heading,
    list_head,
    state_badge,
)
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped

MOST = 50


def draw_list() -> None:
    """Draw the sweeps, or how to start the first one."""
    if not _is_counted():
        heading(t("sweeps.title"), t("sweeps.lead"))
        wait_for(t("sweeps.counting"), _is_counted)
        return
    sweeps, jobs = _read()
    with list_head("sweeps"):
        if sweeps:
            new_button(t("sweeps.new"))
    if not sweeps and not shows_archived():
        draw_switch("sweep")
        with empty_state("sweeps", "grid_view", "sweeps.none"):
            new_button(t("sweeps.new"))
            page_link("home", t("nav.home"), "home")
        return
    live((sweeps, jobs), _read, lambda now: now[1], _draw_all)


def _is_counted() -> bool:
    with database().read() as session:
        return sweeps_counted(session, MOST)


def _read() -> tuple[list[SweepRow], list[JobRow]]:
    with database().read() as session:
        sweeps = list_sweeps(session, MOST, archived=shows_archived())
        return sweeps, active_jobs(session, kind="sweep")


def _draw_all(now: tuple[list[SweepRow], list[JobRow]]) -> None:
    sweeps, jobs = now
    draw_picked("sweep", lambda: [sweep.sweep_id for sweep in sweeps], _draw_actions)
    if not sweeps:
        draw_nothing_archived()
    for sweep in sweeps:
        _draw(sweep, shown_state(sweep, [job for job in jobs if job.sweep_id == sweep.sweep_id]))


def _draw_actions(chosen: list[int]) -> None:
    """Draw what can be done with the picked sweeps."""
    if len(chosen) == 1 and st.button(t("pick.queue"), icon=":material/star:"):
        st.switch_page(path_of("rating"), query_params={"new": "1", "sweep": str(chosen[0])})


def _draw(sweep: SweepRow, state: str) -> None:
    with card(f"sweep_{sweep.sweep_id}"):
        with card_head(f"sweep_{sweep.sweep_id}", escaped(sweep.name)):
            pick_box("sweep", sweep.sweep_id, sweep.name)
            state_badge(state)
            open_button(t("sweeps.open"), f"open_{sweep.sweep_id}", "sweep", sweep.sweep_id)
        facts = [counted("reasonings", sweep.variants), counted("answers", sweep.answers)]
        if sweep.failed:
            facts.append(f":red[{t('sweeps.failed', n=sweep.failed)}]")
        if sweep.pending:
            facts.append(t("sweeps.pending", n=sweep.pending))
        st.progress(share(sweep), text=" · ".join(facts))
        st.caption(t("sweeps.made", ago=ago(sweep.created_at), cells=sweep.n_slots))


def share(sweep: SweepRow) -> float:
    """Return how much of the sweep has an outcome, 0 to 1."""
    settled = sweep.done + sweep.failed + sweep.blocked
    return min(1.0, settled / sweep.n_slots) if sweep.n_slots else 1.0


def tokens_per_s(sweep: SweepRow) -> float | None:
    """Return completion tokens per second of running; None where nothing ran or told its length."""
    if sweep.completion_tokens is None or sweep.active_s <= 0:
        return None
    return sweep.completion_tokens / sweep.active_s


def shown_state(sweep: SweepRow, jobs: Sequence[JobRow]) -> str:
    """Return the state for people: a stopped sweep that lacks texts is not called done."""
    if jobs:
        return jobs[0].state
    if sweep.state in ("queued", "running"):
        return "cancelled"
    return sweep.state
