"""One sweep: progress while it runs, what can be done with it, and its results in four views."""

from collections.abc import Sequence

import streamlit as st

from db.errors import Q2QError, UsageError
from db.jobs import JobRow, active_jobs, enqueue_sweep
from db.sweeps import FailureReason, SweepRow, failure_reasons, get_sweep, set_budget
from workbench.ui.components import url
from workbench.ui.components.archive import draw_archive
from workbench.ui.components.controls import back_link, download, errors_shown, trail
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_cancel, draw_progress
from workbench.ui.components.labels import count, duration, percent
from workbench.ui.components.next_step import lead_on
from workbench.ui.components.parts import (
    card,
    empty_state,
    figures,
    item_head,
    state_badge,
)
from workbench.ui.components.spec_editor import to_yaml
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, told
from workbench.ui.components.text_cards import forget_panel, is_panel_open
from workbench.ui.matrix.view import PARAMETERS, draw_sweep_matrix
from workbench.ui.sweeps.figures import count_outcomes, draw_figures
from workbench.ui.sweeps.list import share, shown_state, tokens_per_s
from workbench.ui.sweeps.results import draw_cards, draw_table, shown_question

VIEWS = {
    "matrix": draw_sweep_matrix,
    "cards": draw_cards,
    "table": draw_table,
    "figures": draw_figures,
}
POLL_S = 2.0
MOST_REASONS = 5
"""Reasons of failed slots that are shown."""
OWN_PARAMETERS = (
    "sweep",
    "view",
    "at",
    "page",
    "find",
    "kind",
    "model",
    "role",
    "format",
    "check",
    "finish",
    *PARAMETERS,
)


def draw_sweep(sweep_id: int) -> None:
    """Draw the sweep, or say that there is none."""
    row = back_link(t("sweeps.back"), _leave)
    try:
        sweep, jobs = _read(sweep_id)
    except Q2QError:
        st.error(t("sweeps.missing", id=sweep_id))
        return
    forget_panel()
    poll = POLL_S if jobs else None
    drawn = _outcomes_in_view(sweep_id, sweep) if jobs else 0
    st.fragment(run_every=poll)(_draw_head)(sweep_id, [(sweep, jobs)], drawn, moving=bool(jobs))
    if not sweep.done and not sweep.failed:
        trail(row, sweep.name)
        empty_state("texts", "hourglass_empty", "results.none")
        _draw_spec(sweep)
        return
    if url.parameter("at") and not url.parameter("view"):
        url.put("view", "cards")  # addresses of the time when cards were the first view
    view = url.segments("view", t("nav.sweeps"), (*VIEWS, "spec"), lambda v: t(f"results.view.{v}"))
    trail(row, sweep.name, t(f"results.view.{view}"))
    if view in VIEWS:
        VIEWS[view](sweep_id)
    else:
        _draw_spec(sweep)
    if not jobs and sweep.variants:
        values = {"name": escaped(sweep.name)}
        lead_on("rate", "rating", values=values, new=1, sweep=sweep_id)


def _leave() -> None:
    url.clear(*OWN_PARAMETERS)


def _read(sweep_id: int) -> tuple[SweepRow, list[JobRow]]:
    with database().read() as session:
        return get_sweep(session, sweep_id), active_jobs(session, sweep_id=sweep_id)


def _outcomes_in_view(sweep_id: int, sweep: SweepRow) -> int:
    """Return how many outcomes the view can show now: when it grows, the view is old.

    The texts of one question come within seconds. A table or a plot would never stand still: it is
    drawn anew when the visitor turns to it. The matrix looks for new texts itself.
    """
    if not sweep.done and not sweep.failed:
        return 0
    if url.parameter("view") != "cards":
        return 1
    with database().read() as session:
        return count_outcomes(session, sweep_id, shown_question(session, sweep_id)[0])


def _draw_head(
    sweep_id: int, just_read: list[tuple[SweepRow, list[JobRow]]], drawn: int, *, moving: bool
) -> None:
    """Draw what changes while the sweep runs; the whole page where the view is old or it ends.

    Args:
        sweep_id: The sweep.
        just_read: What the page has read already, for the first time; later runs read anew.
        drawn: Outcomes that the view showed when the page was drawn.
        moving: Whether it ran when the page was drawn.
    """
    is_first = bool(just_read)
    sweep, jobs = just_read.pop() if just_read else _read(sweep_id)
    is_old = moving and not is_first and (not jobs or _outcomes_in_view(sweep_id, sweep) > drawn)
    if is_old and not is_panel_open():
        st.rerun()
    with item_head("sweep", escaped(sweep.name)):
        state_badge(shown_state(sweep, jobs))
        st.space("stretch")
        _draw_buttons(sweep, jobs)
        if not jobs:
            draw_archive("sweep", sweep.sweep_id, sweep.archived_at)
    if jobs:
        with card("progress"):
            draw_progress(jobs[0])
    elif sweep.error:
        show = st.warning if sweep.state == "cancelled" else st.error
        show(told(sweep.error))
    with database().read() as session:
        reasons = failure_reasons(session, sweep.sweep_id) if sweep.failed else ()
    _draw_figures(sweep, reasons)


def _draw_buttons(sweep: SweepRow, jobs: list[JobRow]) -> None:
    if jobs:
        draw_cancel(jobs[0])
    if not jobs and sweep.pending:
        if sweep.max_tokens is not None or sweep.max_cost is not None:
            with st.popover(t("sweeps.resume"), type="primary", icon=":material/play_arrow:"):
                _draw_budget(sweep)
        elif st.button(
            t("sweeps.resume"),
            type="primary",
            icon=":material/play_arrow:",
            help=t("sweeps.resume_help"),
        ):
            _queue(sweep.sweep_id, retry_failed=False)
    if (
        not jobs
        and sweep.failed
        and st.button(t("sweeps.retry"), icon=":material/replay:", help=t("sweeps.failed_help"))
    ):
        _queue(sweep.sweep_id, retry_failed=True)
    if st.button(t("sweeps.copy"), icon=":material/content_copy:", type="tertiary"):
        _use_as_template(sweep.sweep_id)


def _draw_budget(sweep: SweepRow) -> None:
    """Draw what the sweep may take in all, what is spent already included, and resume it so."""
    st.markdown(t("sweeps.budget_help", tokens=sweep.spent_tokens, cost=sweep.spent_cost))
    max_cost = st.number_input(
        t("spec.max_cost"), 0.0, value=sweep.max_cost, step=0.5, placeholder=t("spec.max_cost_any")
    )
    max_tokens = st.number_input(
        t("spec.max_tokens"),
        1,
        value=sweep.max_tokens,
        step=100_000,
        placeholder=t("spec.max_tokens_any"),
    )
    if st.button(t("sweeps.resume_now"), type="primary"):
        with database().write() as session:
            cost = max_cost or None
            set_budget(session, sweep.sweep_id, max_tokens=max_tokens, max_cost=cost)
        _queue(sweep.sweep_id, retry_failed=False)


def _queue(sweep_id: int, *, retry_failed: bool) -> None:
    with errors_shown():
        resume_sweep(sweep_id, retry_failed=retry_failed)
        st.toast(t("sweeps.queued"), icon=":material/check:")
        st.rerun()


def _use_as_template(sweep_id: int) -> None:
    _leave()
    url.put("new", "1")
    url.put("from", str(sweep_id))
    st.rerun()


def _draw_figures(sweep: SweepRow, reasons: Sequence[FailureReason]) -> None:
    speed = tokens_per_s(sweep)
    settled = f"{count(sweep.done)} / {count(sweep.n_slots)}"
    figures(
        "sweep",
        [
            (t("figures.done"), settled, f"{t('figures.done_help')} {percent(share(sweep), 1)}"),
            (t("count.variants"), sweep.variants, t("count.variants_help")),
            (t("count.answers"), sweep.answers, t("count.answers_help")),
            (
                t("figures.tokens"),
                "–" if sweep.completion_tokens is None else sweep.completion_tokens,
                t("figures.tokens_help"),
            ),
            (
                t("figures.speed"),
                "–" if speed is None else f"{speed:,.0f}",
                t("figures.speed_help"),
            ),
            (t("figures.time"), duration(sweep.active_s), t("figures.time_help")),
        ],
    )
    if sweep.spent_cost or sweep.max_cost is not None or sweep.max_tokens is not None:
        _draw_spent(sweep)
    with st.container(horizontal=True, gap="xsmall"):
        if sweep.failed:
            st.badge(
                t("sweeps.failed", n=sweep.failed),
                icon=":material/error:",
                color="red",
                help=t("sweeps.failed_help"),
            )
        if sweep.blocked:
            st.badge(
                t("sweeps.blocked", n=sweep.blocked),
                icon=":material/block:",
                color="orange",
                help=t("sweeps.blocked_help"),
            )
    for reason in reasons[:MOST_REASONS]:
        st.caption(f"{count(reason.n)} × {told(reason.error, 300)}")


def _draw_spent(sweep: SweepRow) -> None:
    parts = [
        t("sweeps.spent_cost", cost=sweep.spent_cost),
        t("sweeps.of_cost", cost=sweep.max_cost) if sweep.max_cost is not None else "",
        t("sweeps.spent_tokens", tokens=sweep.spent_tokens),
        t("sweeps.of_tokens", tokens=sweep.max_tokens) if sweep.max_tokens is not None else "",
    ]
    st.caption(f":material/payments: {' '.join(part for part in parts if part)}")


def _draw_spec(sweep: SweepRow) -> None:
    text = to_yaml(sweep.spec)
    st.code(text, language="yaml", wrap_lines=True)
    download(
        t("new.download"),
        text,
        f"sweep-{sweep.sweep_id}.yaml",
    )


def resume_sweep(sweep_id: int, *, retry_failed: bool) -> None:
    """Queue what is missing of a sweep, failed texts included on demand.

    Raises:
        UsageError: It waits or runs already.
    """
    with database().write() as session:
        if active_jobs(session, sweep_id=sweep_id):
            raise UsageError("Sweep {sweep_id} is waiting or running already.", sweep_id=sweep_id)
        enqueue_sweep(session, sweep_id, retry_failed=retry_failed)
