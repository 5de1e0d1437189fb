"""The training runs with the form that starts one, and one run: figures, samples, log."""

import os
from pathlib import Path

import streamlit as st
from sqlalchemy.orm import Session

from db.datasets import list_datasets
from db.errors import UsageError
from db.jobs import JobRow, active_jobs
from db.models import list_models
from db.rounds import list_rounds
from db.settings import settings
from db.tables import utc_now
from db.training import (
    RunRow,
    SampleRow,
    differing_settings,
    enqueue_training,
    get_run,
    list_runs,
    run_curves,
    run_samples,
)
from serving.sweeps.selection import default_model
from training.runs.run import run_folder
from training.runs.watch import share_outside_steps, time_shares
from workbench.ui.components import url
from workbench.ui.components.archive import (
    draw_archive,
    draw_nothing_archived,
    draw_picked,
    pick_box,
    shows_archived,
)
from workbench.ui.components.controls import back_link, open_button, page_link, trail
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_cancel, draw_progress
from workbench.ui.components.labels import ago, duration
from workbench.ui.components.live import live
from workbench.ui.components.parts import (
    card,
    card_head,
    empty_state,
    figures,
    heading,
    item_head,
    section,
    state_badge,
)
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_text, told
from workbench.ui.training.curves import COMPARED, draw_compared, draw_curves
from workbench.ui.training.form import draw_form, first_asked

MOST = 50
COMPARED_RUNS = "runs"
"""Runs on one plot, in the address."""
TRAINABLE = ("base", "merged")
LOG_BYTES = 6_000


def draw_list() -> None:
    """Draw the runs, and how to begin one."""
    heading(t("training.title"), t("training.lead"))
    with database().read() as session:
        datasets = {one.name: one.kind for one in first_asked(list_datasets(session))}
        bases = [one.name for one in list_models(session) if one.kind in TRAINABLE]
        default = _default_name(session)
    if not datasets:
        with empty_state("training", "model_training", "training.none"):
            page_link("datasets", t("nav.datasets"), "dataset")
    else:
        draw_form(datasets, bases, default)
    found = _read()
    if found[0] or shows_archived():
        section(t("training.runs"), t("training.runs_help") if len(found[0]) > 1 else None)
        _draw_comparison(found[0])
        live(found, _read, lambda now: now[1], _draw_runs)


def _read() -> tuple[list[RunRow], list[JobRow]]:
    with database().read() as session:
        runs = list_runs(session, MOST, archived=shows_archived())
        return runs, active_jobs(session, kind="train")


def _default_name(session: Session) -> str | None:
    """Return the model of the settings, where the store has it already."""
    try:
        return default_model(session).name
    except UsageError:
        return None


def _draw_comparison(runs: list[RunRow]) -> None:
    """Draw the curves of the runs that are picked on the list, on one plot."""
    picked = [run for run in runs if str(run.id) in url.values(COMPARED_RUNS)]
    if len(picked) < 2:
        return
    with database().read() as session:
        curves = {run.id: run_curves(session, run.id, COMPARED) for run in picked}
    draw_compared(picked, curves, differing_settings(picked))
    if st.button(t("training.compare_end"), icon=":material/close:", type="tertiary"):
        url.clear(COMPARED_RUNS)
        st.rerun()


def _draw_runs(now: tuple[list[RunRow], list[JobRow]]) -> None:
    runs = now[0]
    draw_picked("run", lambda: [run.id for run in runs], _draw_compare)
    if not runs:
        draw_nothing_archived()
    for run in runs:
        _draw(run)


def _draw_compare(chosen: list[int]) -> None:
    """Draw the button that puts the curves of the picked runs on one plot."""
    if len(chosen) > 1 and st.button(t("training.compare"), icon=":material/ssid_chart:"):
        url.put(COMPARED_RUNS, [str(one) for one in chosen])
        st.rerun()


def _draw(run: RunRow) -> None:
    with card(f"run_{run.id}", gap="xsmall"):
        with card_head(f"run_{run.id}", f"t{run.id} · {escaped(str(run.config.get('dataset')))}"):
            pick_box("run", run.id, f"t{run.id}")
            state_badge(run.state)
            open_button(t("training.open"), f"run_{run.id}", "run", run.id)
        summary = run.summary
        loss, held_out = summary.get("loss"), summary.get("held_out_loss")
        st.caption(
            t(
                "training.line",
                base=escaped(str(run.config.get("base"))),
                method=run.method,
                preset=str(run.config.get("preset")),
                step=f"{summary.get('step', 0)} / {summary.get('total') or '–'}",
                loss="–" if loss is None else f"{loss:.3f}",
                held_out="–" if held_out is None else f"{held_out:.3f}",
                when=ago(run.created_at),
            )
        )
        _draw_phase(run)


def _draw_phase(run: RunRow) -> None:
    """Say what a run does now, and how long it will still take where that is known."""
    if run.state != "running":
        return
    phase = t(f"training.phase.{run.summary.get('phase', 'starting')}")
    left = run.summary.get("seconds_left")
    if left is None:
        st.caption(t("training.now", phase=phase))
    else:
        st.caption(t("training.now_left", phase=phase, left=duration(left)))


def draw_run(run_id: int) -> None:
    """Draw the run, or say that there is none."""
    row = back_link(t("training.back"), lambda: url.clear("run"))
    found = _read_run(run_id)
    trail(row, t("training.run", id=run_id, dataset=str(found[0].config.get("dataset"))))
    live(
        found,
        lambda: _read_run(run_id),
        lambda now: now[0].state == "running" or now[1],
        _draw_live,
    )
    with st.expander(t("training.settings"), icon=":material/tune:"):
        _draw_settings(found[0])


def _read_run(run_id: int) -> tuple[RunRow, list[JobRow]]:
    with database().read() as session:
        run, jobs = get_run(session, run_id), active_jobs(session, kind="train")
    return run, [job for job in jobs if job.payload.get("run_id") == run_id]


def _draw_live(now: tuple[RunRow, list[JobRow]]) -> None:
    run, jobs = now
    with database().read() as session:
        curves, samples = run_curves(session, run.id), run_samples(session, run.id)
    with item_head(
        "run", t("training.run", id=run.id, dataset=escaped(str(run.config.get("dataset"))))
    ):
        state_badge(run.state)
        st.space("stretch")
        _draw_buttons(run, jobs)
        if not jobs and run.state != "running":
            draw_archive("run", run.id, run.archived_at)
    if jobs:
        with card("run_progress"):
            draw_progress(jobs[0])
    elif run.state == "running":
        _draw_of_round(run)
    if run.error:
        st.error(told(run.error))
    _draw_figures(run)
    if curves:
        draw_curves(curves)
    else:
        empty_state("curves", "show_chart", "training.no_curves")
    _draw_samples(samples)
    _draw_log(run)


def _draw_of_round(run: RunRow) -> None:
    """Draw how far the run of a round is, and the way to the round, which has its job."""
    with card("run_progress"), st.container(horizontal=True, vertical_alignment="center"):
        _draw_phase(run)
        with database().read() as session:
            own = [one for one in list_rounds(session) if one.training_run_id == run.id]
        for one in own:
            page_link(
                "rounds", t("training.of_round", name=escaped(one.name)), "cycle", round=one.id
            )


def _draw_buttons(run: RunRow, jobs: list[JobRow]) -> None:
    if jobs:
        draw_cancel(jobs[0])
    elif run.state in ("cancelled", "failed", "queued") and st.button(
        t("training.resume"),
        type="primary",
        icon=":material/play_arrow:",
        help=t("training.resume_help"),
    ):
        with database().write() as session:
            enqueue_training(session, run.id)
        st.rerun()


def _draw_figures(run: RunRow) -> None:
    summary = run.summary

    def number(name: str, form: str) -> str:
        value = summary.get(name)
        return "–" if value is None else format(value, form)

    steps = f"{summary.get('step', 0)} / {summary.get('total') or '–'}"
    names = ("loss", "held_out_loss", "tokens_per_second", "memory_gib")
    forms = (".3f", ".3f", ",.0f", ".1f")
    figures(
        "run",
        [
            (t("training.steps"), steps, t("training.steps_help")),
            *(
                (t(f"training.{name}"), number(name, form), t(f"training.{name}_help"))
                for name, form in zip(names, forms, strict=True)
            ),
            (
                t("figures.time"),
                duration(_seconds(run)),
                t("training.time_help"),
            ),
        ],
    )
    if run.state == "running":
        return  # a phase is counted once it is over
    shares = [
        f"{t(f'training.phase.{name}')} {duration(seconds)} ({share:.0%})"
        for name, seconds, share in time_shares(summary)
    ]
    if shares:
        outside = f"{share_outside_steps(summary):.0%}"
        st.caption(t("training.time_went", shares=", ".join(shares), outside=outside))


def _seconds(run: RunRow) -> float | None:
    """Return how long a run took, or has taken so far."""
    end = utc_now() if run.state == "running" else run.finished_at
    if end is None or run.started_at is None:
        return None
    return max(0.0, (end - run.started_at).total_seconds())


def _draw_samples(samples: list[SampleRow]) -> None:
    if not samples:
        return
    section(t("training.samples"), t("training.samples_help"))
    steps = sorted({one.step for one in samples})
    step = st.select_slider(t("training.step"), steps, steps[-1]) if len(steps) > 1 else steps[0]
    for one in samples:
        if one.step == step:
            with card(f"sample_{one.question_id}", gap="xsmall"):
                st.caption(escaped(one.question))
                show_text(one.text)
                if not one.stopped:
                    st.badge(t("training.not_stopped"), color="orange")


def _draw_log(run: RunRow) -> None:
    tail = log_tail(run_folder(settings(), run.id).log)
    if tail:
        with st.expander(t("training.log"), icon=":material/terminal:"):
            st.code(tail, language=None, wrap_lines=True)


def log_tail(path: Path, most: int = LOG_BYTES) -> str:
    """Return the last whole lines of a log; empty where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return text if size <= most else text.partition("\n")[2]


def _draw_settings(run: RunRow) -> None:
    st.caption(escaped(str(run.config.get("why", ""))))
    rows = {**run.config.get("settings", {}), **run.versions}
    st.dataframe(
        [{"name": str(name), "value": str(value)} for name, value in rows.items()],
        hide_index=True,
        column_config={"name": t("training.setting"), "value": t("training.value")},
    )
