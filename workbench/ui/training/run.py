"""One training run while it runs and after: curves, samples, settings, the end of its log."""

import os
from collections.abc import Mapping
from pathlib import Path

import altair as alt
import streamlit as st

from db.jobs import JobRow, active_jobs
from db.settings import settings
from db.training import Curve, RunRow, SampleRow, enqueue_training, get_run, run_curves, run_samples
from training.runs.run import run_folder
from training.runs.watch import time_shares
from workbench.ui.components import url
from workbench.ui.components.controls import back_link
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_cancel, draw_progress
from workbench.ui.components.labels import duration
from workbench.ui.components.live import live
from workbench.ui.components.parts import (
    card,
    empty_state,
    figures,
    item_head,
    section,
    state_badge,
)
from workbench.ui.components.plots import draw_plot, legend, plot_of, tooltips
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_text

LOG_BYTES = 6_000
PLOTS: Mapping[str, tuple[str, ...]] = {
    "loss": ("loss", "held_out_loss"),
    "learning_rate": ("learning_rate",),
    "grad_norm": ("grad_norm",),
    "tokens_per_second": ("tokens_per_second",),
    "memory_gib": ("memory_gib",),
    "preference": ("rewards/margins", "rewards/accuracies"),
}
"""Plot → the curves that share its axis."""
HEIGHT = 200


def draw_run(run_id: int) -> None:
    """Draw the run, or say that there is none."""
    back_link(t("training.back"), lambda: url.clear("run"))
    found = _read(run_id)
    live(found, lambda: _read(run_id), lambda now: now[0].state == "running" or now[1], _draw_live)
    with st.expander(t("training.settings"), icon=":material/tune:"):
        _draw_settings(found[0])


def _read(run_id: int) -> tuple[RunRow, list[JobRow]]:
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
    if jobs:
        with card("run_progress"):
            draw_progress(jobs[0])
    if run.error:
        st.error(escaped(run.error))
    _draw_figures(run)
    if curves:
        _draw_curves(curves)
    else:
        empty_state("curves", "show_chart", "training.no_curves")
    _draw_samples(samples)
    _draw_log(run)


def _draw_buttons(run: RunRow, jobs: list[JobRow]) -> None:
    if jobs:
        draw_cancel(database(), jobs[0])
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
    told = run.summary

    def number(name: str, form: str) -> str:
        value = told.get(name)
        return "–" if value is None else format(value, form)

    steps = f"{told.get('step', 0)} / {told.get('total') or '–'}"
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
                duration(
                    max(0.0, (run.finished_at - run.started_at).total_seconds())
                    if run.finished_at and run.started_at
                    else None
                ),
                t("training.time_help"),
            ),
        ],
    )
    shares = [
        f"{t(f'training.phase.{name}')} {duration(seconds)} ({share:.0%})"
        for name, seconds, share in time_shares(told)
    ]
    if shares:
        st.caption(t("training.time_went", shares=", ".join(shares)))


def _draw_curves(curves: Mapping[str, Curve]) -> None:
    drawn = [
        (plot, [curves[name] for name in names if name in curves]) for plot, names in PLOTS.items()
    ]
    drawn = [(plot, found) for plot, found in drawn if found]
    with card("curve_main"):
        section(t(f"training.plot.{drawn[0][0]}"))
        _draw_plot(drawn[0][1], HEIGHT + 60)
    columns = st.columns(2)
    for place, (plot, found) in enumerate(drawn[1:]):
        with columns[place % 2], card(f"curve_{plot}"):
            section(t(f"training.plot.{plot}"))
            _draw_plot(found, HEIGHT)


def _draw_plot(found: list[Curve], height: int) -> None:
    rows = [
        {"step": step, "value": value, "curve": _curve_name(curve.name)}
        for curve in found
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    names = [_curve_name(curve.name) for curve in found]
    shown = legend(260) if len(found) > 1 else None
    chart = (
        plot_of(rows)
        .mark_line(point=alt.OverlayMarkDef(size=22), strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title=t("training.step"), axis=alt.Axis(grid=False, tickMinStep=1)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("curve:N", title=None, legend=shown, sort=names),
            tooltip=tooltips(
                ("curve:N", ""), ("step:Q", t("training.step")), ("value:Q", "", ".4g")
            ),
        )
    )
    draw_plot(chart, height)


def _curve_name(name: str) -> str:
    return t(f"training.{name}") if name in ("loss", "held_out_loss") else name


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
