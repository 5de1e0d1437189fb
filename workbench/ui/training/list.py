"""The training runs, newest first, and the form that starts one."""

import streamlit as st
from sqlalchemy.orm import Session

from db.datasets import find_dataset, list_datasets
from db.errors import UsageError
from db.jobs import JobRow, active_jobs
from db.models import list_models
from db.settings import settings
from db.training import RunRow, enqueue_training, list_runs
from serving.sweeps.selection import default_model
from training.datasets.balance import cautions, read_balance
from training.runs.prepare import plan_run, queue_run
from training.runs.spec import TrainSpec, parse_spec
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown, open_button, page_link
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Hint, SpecForm
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import ago
from workbench.ui.components.live import live
from workbench.ui.components.parts import (
    card,
    card_head,
    empty_state,
    heading,
    section,
    state_badge,
)
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped
from workbench.ui.datasets.counts import draw_cautions

MOST = 50
PRESETS = ("auto", "laptop", "notebook", "fast", "max")
TRAINABLE = ("base", "merged")


def draw_list() -> None:
    """Draw the runs, and how to begin one."""
    heading(t("training.title"), t("training.lead"))
    with database().read() as session:
        datasets = [one.name for one in list_datasets(session)]
        bases = [one.name for one in list_models(session) if one.kind in TRAINABLE]
        default = _default_name(session)
    if not datasets:
        with empty_state("training", "model_training", "training.none"):
            page_link("datasets", t("nav.datasets"), "dataset")
    else:
        _draw_form(datasets, bases, default)
    found = _read()
    if found[0]:
        section(t("training.runs"))
        live(found, _read, lambda now: now[1], _draw_runs)


def _read() -> tuple[list[RunRow], list[JobRow]]:
    with database().read() as session:
        return list_runs(session, MOST), active_jobs(session, kind="train")


def _default_name(session: Session) -> str | None:
    """Return the model of the settings, where the store has it already."""
    try:
        return default_model(session).name
    except UsageError:
        return None


def _draw_form(datasets: list[str], bases: list[str], default: str | None) -> None:
    with card("training_new"):
        section(t("training.new"), t("training.new_help"))
        hints = {
            "dataset": Hint(options=datasets),
            "base": Hint(options=bases, start=default, example=t("training.default_base")),
            "preset": Hint(options=PRESETS, show="preset"),
        }
        draft = FormDraft("training")
        form = SpecForm(draft, TrainSpec, {}, "training", hints)
        form.columns(("dataset",), ("base",), ("preset",))
        with errors_shown():
            spec = parse_spec(form.spec)
            if spec.base:  # the default model may have to be made first: not while a page is drawn
                planned = plan_run(database(), settings(), spec)
                st.caption(escaped(planned.resolved.why))
            with database().read() as session:
                balance = read_balance(session, find_dataset(session, spec.dataset))
            draw_cautions(cautions(balance))
            if st.button(t("training.start"), type="primary", icon=":material/play_arrow:"):
                with errors_shown():
                    planned = plan_run(database(), settings(), spec)
                    with database().write() as session:
                        run = queue_run(session, spec, planned)
                        enqueue_training(session, run.id)
                    url.put("run", str(run.id))
                    st.toast(t("training.queued"), icon=":material/check:")
                    st.rerun()


def _draw_runs(now: tuple[list[RunRow], list[JobRow]]) -> None:
    for run in now[0]:
        _draw(run)


def _draw(run: RunRow) -> None:
    with card(f"run_{run.id}", gap="xsmall"):
        with card_head(f"run_{run.id}", f"t{run.id} · {escaped(str(run.config.get('dataset')))}"):
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
