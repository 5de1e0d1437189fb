"""The list of sweeps, newest first, and what their figures and buttons say."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from db.jobs import JobRow, active_jobs
from db.sweeps import SweepRow, list_sweeps, sweeps_counted
from workbench.ui.components import url
from workbench.ui.components.i18n import counted, t
from workbench.ui.components.labels import ago
from workbench.ui.components.parts import (
    card,
    empty_state,
    head_row,
    heading,
    state_badge,
    wait_for,
)
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped

MOST = 50
POLL_S = 2.0


def draw_list() -> None:
    """Draw the sweeps, or how to start the first one."""
    if not _is_counted():
        heading(t("sweeps.title"), t("sweeps.lead"))
        wait_for(t("sweeps.counting"), _is_counted)
        return
    sweeps, jobs = _read()
    with head_row("sweeps"):
        with st.container(width="stretch", gap="xsmall"):
            heading(t("sweeps.title"), t("sweeps.lead"))
        if sweeps:
            _new_button()
    if not sweeps:
        with empty_state(
            "sweeps", ":material/grid_view:", t("sweeps.none.title"), t("sweeps.none.text")
        ):
            _new_button()
            st.page_link("ui/home/page.py", label=t("nav.home"), icon=":material/home:")
        return
    draw = st.fragment(run_every=POLL_S if jobs else None)(_draw_all)
    draw([(sweeps, jobs)], moving=bool(jobs))


def _is_counted() -> bool:
    with database().read() as session:
        return sweeps_counted(session, MOST)


def _read() -> tuple[list[SweepRow], list[JobRow]]:
    with database().read() as session:
        return list_sweeps(session, MOST), active_jobs(session, kind="sweep")


def _draw_all(just_read: list[tuple[list[SweepRow], list[JobRow]]], *, moving: bool) -> None:
    """Draw all sweeps as they are now; the whole page again once all are still."""
    sweeps, jobs = just_read.pop() if just_read else _read()
    if moving and not jobs:
        st.rerun()
    for sweep in sweeps:
        _draw(sweep, shown_state(sweep, [job for job in jobs if job.sweep_id == sweep.sweep_id]))


def _new_button() -> None:
    st.button(
        t("sweeps.new"),
        type="primary",
        icon=":material/add:",
        shortcut="N",
        on_click=url.put,
        args=("new", "1"),
    )


def _draw(sweep: SweepRow, state: str) -> None:
    progress = sweep.progress
    with card(f"sweep_{sweep.sweep_id}"):
        with head_row(f"sweep_{sweep.sweep_id}"):
            st.markdown(f"**{escaped(sweep.name)}**", width="content")
            state_badge(state)
            st.space("stretch")
            if st.button(
                t("sweeps.open"),
                key=f"open_{sweep.sweep_id}",
                icon=":material/arrow_forward:",
                icon_position="right",
                type="tertiary",
            ):
                url.put("sweep", str(sweep.sweep_id))
                st.rerun()
        facts = [counted("reasonings", progress.variants), counted("answers", progress.answers)]
        if sweep.failed:
            facts.append(f":red[{t('sweeps.failed', n=sweep.failed)}]")
        if progress.pending:
            facts.append(t("sweeps.pending", n=progress.pending))
        st.progress(share(sweep), text=" · ".join(facts))
        st.caption(t("sweeps.made", ago=ago(sweep.created_at), cells=sweep.cells))


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """Which buttons a sweep has now."""

    cancel: bool
    resume: bool
    retry: bool


def actions(sweep: SweepRow, jobs: Sequence[JobRow]) -> Actions:
    """Return what can be done: a moving sweep can be cancelled, a resting one taken up again."""
    moving = bool(jobs)
    return Actions(
        cancel=moving,
        resume=not moving and sweep.progress.pending > 0,
        retry=not moving and sweep.failed > 0,
    )


def share(sweep: SweepRow) -> float:
    """Return how much of the sweep has an outcome, 0 to 1."""
    settled = sweep.done + sweep.failed + sweep.blocked
    return min(1.0, settled / sweep.cells) if sweep.cells else 1.0


def tokens_per_s(sweep: SweepRow) -> float | None:
    """Return completion tokens per second of running; None where nothing ran or told its length."""
    progress = sweep.progress
    if progress.completion_tokens is None or sweep.active_s <= 0:
        return None
    return progress.completion_tokens / sweep.active_s


def shown_state(sweep: SweepRow, jobs: Sequence[JobRow]) -> str:
    """Return the state for people: a stopped sweep that lacks texts is not called done."""
    if jobs:
        return jobs[0].state
    if sweep.state in ("queued", "running"):
        return "cancelled"
    return sweep.state
