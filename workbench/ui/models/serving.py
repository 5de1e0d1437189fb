"""How a model is served: the plan in one sentence, and a form to set other values."""

from typing import Any

import streamlit as st

from db.errors import Q2QError
from db.identity import AS_STORED, WHEN_LOADED, Precision
from db.jobs import INTERACTIVE_PRIORITY, enqueue
from db.models import ModelRow, limits_of
from db.settings import settings
from serving.device import resolve_device
from serving.engine.hardware import Gpu
from serving.engine.plan import Limits, ServingPlan
from serving.models.planned import free_gpus, plan_for
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, told

COUNTS = (
    ("max_num_seqs", 1),
    ("max_model_len", 256),
    ("data_parallel_size", 1),
    ("tensor_parallel_size", 1),
    ("pipeline_parallel_size", 1),
)
"""Whole numbers that may be set, each with its smallest value."""


def draw_serving(model: ModelRow) -> None:
    """Draw how a base or merged model is served, and the form that serves it otherwise."""
    section(t("serving.title"), t("serving.help"))
    with card("model_serving"):
        with database().read() as session:
            limits = limits_of(session, model)
        try:
            with database().read() as session:
                plan = plan_for(session, settings(), model.name, _gpus())
        except Q2QError as error:
            st.warning(told(error), icon=":material/memory:")
        else:
            st.markdown(told(plan.why))
            if plan.memory is not None:
                _draw_memory(plan)
        with (
            st.expander(t("serving.change"), icon=":material/tune:"),
            st.form(f"serving_{model.id}", border=False),
        ):
            _draw_form(model, limits)


@st.cache_data(ttl=10, show_spinner=False)
def _gpus() -> tuple[Gpu, ...] | None:
    """Return this machine's GPUs, asked for at most every ten seconds; None where a CPU serves."""
    return free_gpus(settings()) if resolve_device(settings().device) == "cuda" else None


def _draw_memory(plan: ServingPlan) -> None:
    memory = plan.memory
    assert memory is not None
    st.caption(
        t(
            "serving.memory",
            weights=f"{memory.weights_gib:.1f}",
            working=f"{memory.working_gib:.1f}",
            cache=f"{memory.cache_gib:.1f}",
            total=f"{memory.total_gib:.1f}",
        )
    )


def _draw_form(model: ModelRow, limits: dict[str, Any]) -> None:
    precision = None
    if model.precision == AS_STORED:
        precision = st.selectbox(
            t("serving.precision"),
            ("auto", AS_STORED, *WHEN_LOADED),
            format_func=_precision_name,
            key=f"serving_precision_{model.id}",
        )
    chosen: dict[str, Any] = {}
    for column, (name, least) in zip(st.columns(len(COUNTS)), COUNTS, strict=True):
        chosen[name] = column.number_input(
            t(f"serving.{name}"),
            min_value=least,
            value=limits.get(name),
            step=1,
            placeholder=t("serving.by_plan"),
            key=f"serving_{name}_{model.id}",
        )
    chosen["gpu_memory_utilization"] = st.number_input(
        t("serving.gpu_memory_utilization"),
        min_value=0.05,
        max_value=1.0,
        value=limits.get("gpu_memory_utilization"),
        step=0.01,
        placeholder=t("serving.by_plan"),
        key=f"serving_memory_{model.id}",
    )
    if st.form_submit_button(t("serving.start"), type="primary", icon=":material/play_arrow:"):
        with errors_shown():
            kept = {name: value for name, value in chosen.items() if value is not None}
            _serve(model, None if precision == "auto" else precision, kept)


def _precision_name(precision: Precision | str) -> str:
    return t("serving.by_plan") if precision == "auto" else t(f"precision.{precision}")


def _serve(model: ModelRow, precision: str | None, limits: dict[str, Any]) -> None:
    """Queue the serving of a model with what was set; what does not fit is refused at once."""
    name = f"{model.name}@{precision}" if precision else model.name
    with database().write() as session:
        plan_for(session, settings(), model.name, _gpus(), Limits(**limits))
        payload = {"model": name, "limits": limits}
        enqueue(session, "serve_start", payload=payload, priority=INTERACTIVE_PRIORITY)
    st.toast(t("serving.started", name=escaped(name)), icon=":material/check:")
