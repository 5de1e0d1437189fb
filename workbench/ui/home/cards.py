"""What Home says: what the project holds, its next step, and each model server in plain words."""

import os
from collections.abc import Sequence

import streamlit as st

from db.engines import EngineRow
from db.jobs import JobRow
from serving.importers.questions import import_questions
from serving.importers.readers import SUFFIXES, stream_rows
from serving.sweeps.plan import queue_sweep
from serving.sweeps.spec import load_spec
from workbench import EXAMPLES, READING_ONLY
from workbench.project import NextStep, ProjectState, Stage, Step
from workbench.ui.components.controls import errors_shown, page_link, path_of
from workbench.ui.components.i18n import counted, t
from workbench.ui.components.labels import count
from workbench.ui.components.next_step import draw_step
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped

PAGES: dict[Step, tuple[str, str]] = {
    "watch": ("sweeps", "sweep"),
    "open": ("sweeps", "sweep"),
    "sweep": ("sweeps", "new"),
    "rate": ("rating", "sweep"),
    "rate_on": ("rating", "queue"),
    "dataset": ("datasets", "new"),
    "round": ("rounds", "dataset"),
    "follow": ("rounds", "round"),
    "resume": ("rounds", "round"),
    "compare": ("rounds", "round"),
    "result": ("rounds", "round"),
}
"""Step → the page where it is done, and what its address says."""
LISTS: dict[Stage, tuple[str, str]] = {
    "questions": ("questions", "help_center"),
    "texts": ("sweeps", "grid_view"),
    "ratings": ("rating", "star"),
    "rows": ("datasets", "dataset"),
    "rounds": ("rounds", "cycle"),
}
"""Stage → its page and icon."""


def draw_stages(state: ProjectState) -> None:
    """Draw how much each stage of the road holds, and whether it is done, running or next."""
    with st.container(horizontal=True, gap="small", key="figures_few_stages"):
        for stage, (page, icon) in LISTS.items():
            with st.container(border=True, gap="xxsmall", height="stretch", key=f"stage_{stage}"):
                page_link(page, t(f"stage.{stage}"), icon)
                st.subheader(count(state.count(stage)), anchor=False)
                facts = {name: getattr(state, name) for name in STAGE_FACTS.get(stage, ())}
                if facts:
                    st.caption(" · ".join(counted(name, n) for name, n in facts.items()))
                _stage_badge(state, stage)


STAGE_FACTS: dict[Stage, tuple[str, ...]] = {
    "texts": ("sweeps",),
    "rows": ("datasets",),
}


def _stage_badge(state: ProjectState, stage: Stage) -> None:
    if stage in state.running:
        st.badge(t("stage.running"), icon=":material/pending:", color="blue")
    elif stage == state.next.stage:
        st.badge(t("stage.next"), icon=":material/arrow_forward:", color="orange")
    elif state.count(stage):
        st.badge(t("stage.done"), icon=":material/check:", color="green")
    else:
        st.badge(t("stage.later"), icon=":material/circle:", color="gray")


def draw_next_step(next: NextStep, has_model: bool) -> None:
    """Draw the step and do it when its button is pressed.

    A sweep can only be planned once a model is known; until then its button waits.
    """
    waits = None
    if next.step in ("first_sweep", "sweep") and (not has_model or is_reading_only()):
        waits = t(f"next.first_sweep.{'reading_only' if is_reading_only() else 'waits'}")
    pressed = draw_step(next.step, waits=waits, name=escaped(next.name))
    if next.step in ("import", "first_sweep"):
        page_link("questions", t("next.import.own"), "upload_file", **{"import": 1})
    if pressed:
        _do(next)


def examples_button() -> None:
    """Draw the button that brings the bundled questions in."""
    if st.button(t("import.examples"), type="primary", icon=":material/download:"):
        _do(NextStep(step="import"))


def _do(next: NextStep) -> None:
    with errors_shown():
        page, name = PAGES.get(next.step, ("sweeps", "sweep"))
        address = {name: str(next.id or 1)}
        if next.step == "import":
            added, skipped = import_examples()
            st.toast(t("home.imported", added=added, skipped=skipped), icon=":material/check:")
            st.rerun()
        if next.step == "first_sweep":
            address[name] = str(start_first_sweep())
            st.toast(t("home.sweep_queued"), icon=":material/check:")
        if next.step == "rate":
            address["new"] = "1"
        st.switch_page(path_of(page), query_params=address)


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


def import_examples() -> tuple[int, int]:
    """Bring the bundled questions in; return how many are new and how many were there already."""
    files = [path for path in sorted((EXAMPLES / "questions").iterdir()) if path.suffix in SUFFIXES]
    done = import_questions(database(), *map(stream_rows, files), source="example")
    return done.added, done.skipped + done.updated


def start_first_sweep() -> int:
    """Queue the bundled first sweep; return its id."""
    with database().write() as session:
        return queue_sweep(session, load_spec(EXAMPLES / "sweeps" / "first.yaml"), registry())[0]
