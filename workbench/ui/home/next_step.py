"""The card on Home that says what to do next, and each model server in plain words."""

import os
from collections.abc import Sequence
from typing import Literal

import streamlit as st

from db.database import Database
from db.engines import LOCAL, EngineRow
from db.jobs import JobRow
from workbench import READING_ONLY
from workbench.ui.components.actions import import_examples, start_first_sweep
from workbench.ui.components.controls import errors_shown, path_of
from workbench.ui.components.i18n import t
from workbench.ui.components.store import StoreCounts, registry

Step = Literal["import", "first_sweep", "watch", "look", "open"]

ICONS: dict[Step, str] = {
    "import": ":material/download:",
    "first_sweep": ":material/play_arrow:",
    "watch": ":material/visibility:",
    "look": ":material/menu_book:",
    "open": ":material/arrow_forward:",
}


def draw_next_step(
    database: Database, step: Step, newest_sweep: int | None, has_model: bool
) -> None:
    """Draw the step and do it when its button is pressed.

    A sweep can only be planned once a model is known; until then its button waits.
    """
    waits = step == "first_sweep" and (not has_model or is_reading_only())
    with (
        st.container(border=True, key="next_step"),
        st.container(horizontal=True, vertical_alignment="center", gap="large"),
    ):
        with st.container(width="stretch", gap="xxsmall", key="next_step_text"):
            st.caption(t("home.next"))
            st.subheader(t(f"next.{step}.title"), anchor=False)
            st.markdown(t(f"next.{step}.text"))
            if waits:
                reason = "reading_only" if is_reading_only() else "waits"
                st.caption(f":material/hourglass_top: {t(f'next.first_sweep.{reason}')}")
        pressed = st.button(
            t(f"next.{step}.button"),
            key=f"next_{step}",
            type="primary",
            icon=ICONS[step],
            disabled=waits,
        )
    if pressed:
        _do(database, step, newest_sweep)


def examples_button(database: Database) -> None:
    """Draw the button that brings the bundled questions in."""
    if st.button(t("import.examples"), type="primary", icon=ICONS["import"]):
        _do(database, "import", None)


def _do(database: Database, step: Step, newest_sweep: int | None) -> None:
    with errors_shown():
        if step == "import":
            added, skipped = import_examples(database)
            st.toast(t("home.imported", added=added, skipped=skipped), icon=":material/check:")
            st.rerun()
        if step == "first_sweep":
            newest_sweep = start_first_sweep(database, registry())
            st.toast(t("home.sweep_queued"), icon=":material/check:")
        if newest_sweep is not None:
            st.switch_page(path_of("sweeps"), query_params={"sweep": str(newest_sweep)})


def next_step(counts: StoreCounts, jobs: Sequence[JobRow]) -> Step:
    """Return what to do next: bring questions, start a sweep, watch it, or look at its texts."""
    if counts.questions == 0:
        return "import"
    if any(job.kind == "sweep" for job in jobs):
        return "watch"
    if counts.sweeps == 0:
        return "first_sweep"
    return "look" if counts.variants + counts.answers else "open"


def is_reading_only() -> bool:
    """Tell whether ``q2q up --no-engine`` started this page: no worker runs beside it."""
    return bool(os.environ.get(READING_ONLY))


def is_moving(engines: Sequence[EngineRow], jobs: Sequence[JobRow]) -> bool:
    """Tell whether something changes by itself, so that the page should look again soon."""
    return (
        (not engines and not is_reading_only())
        or bool(jobs)
        or any(
            engine.state in ("starting", "unhealthy")
            or (engine.wanted and engine.state == "stopped")
            for engine in engines
        )
    )


def can_start(engine: EngineRow) -> bool:
    """Tell whether a person may start the server: only the workbench's own."""
    return engine.name == LOCAL and (not engine.wanted or engine.state == "failed")


def can_stop(engine: EngineRow) -> bool:
    """Tell whether a person may stop the server: only the workbench's own."""
    return engine.name == LOCAL and engine.wanted and engine.state != "failed"
