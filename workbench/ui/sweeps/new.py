"""A new sweep: a form and its YAML, two views of one draft, with the plan beside them."""

import streamlit as st

from db.errors import Q2QError
from db.input_text import decoded
from db.sweeps import get_sweep
from serving.sweeps.plan import SweepPlan, plan_sweep, queue_sweep
from serving.sweeps.spec import SweepSpec, parse_spec
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, download, errors_shown
from workbench.ui.components.forms import Spec
from workbench.ui.components.i18n import counted, t
from workbench.ui.components.labels import count, duration
from workbench.ui.components.parts import card, heading, plan_rows
from workbench.ui.components.spec_editor import SpecEditor, draw_invalid, to_yaml
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped
from workbench.ui.sweeps.form import STARTING_SPEC, draw_form


def draw_new() -> None:
    """Draw the spec of this visit and the plan that it comes to."""
    editor = _editor()
    back_link(t("sweeps.back"), _leave, editor.draft)
    heading(t("new.title"), t("new.lead"))
    editor.draft.draw_notice()
    left, right = st.columns([3, 2], gap="large")
    with left:
        spec = editor.draw(
            t("new.title"),
            lambda base: draw_form(base, editor),
            _check,
            lambda: _draw_text(editor),
            t("new.invalid"),
        )
    with right, st.container(key="plan"):
        _draw_plan(spec, editor)


def _check(spec: Spec) -> SweepSpec:
    return parse_spec(spec, where=t("new.title"))


def _leave() -> None:
    url.clear("new", "from", "as")


def _editor() -> SpecEditor:
    """Return the spec: a new one, or a copy of the sweep that the URL names."""
    source = url.number("from")
    if source is None:
        return SpecEditor("sweep", _new_spec)
    return SpecEditor(f"sweep-{source}", lambda: _copy_of(source))


def _new_spec() -> Spec:
    return {"name": t("new.title"), **STARTING_SPEC}


def _copy_of(sweep_id: int) -> Spec:
    try:
        with database().read() as session:
            return dict(get_sweep(session, sweep_id).spec)
    except Q2QError:
        return _new_spec()


def _draw_text(editor: SpecEditor) -> Spec:
    upload = st.file_uploader(t("new.load"), type=["yaml", "yml"], key="spec_file")
    if upload is not None and st.session_state.get("spec_file_id") != upload.file_id:
        st.session_state["spec_file_id"] = upload.file_id
        with errors_shown():
            editor.set_text(decoded(upload.getvalue(), where=upload.name))
    return editor.draw_text(t("new.yaml_label"), height=420, help=t("new.yaml_help"))


def _draw_plan(draft: Spec | None, editor: SpecEditor) -> None:
    with card("plan"):
        st.markdown(f"**{t('new.plan')}**")
        if draft is None:
            return
        try:
            spec = _check(draft)
            with database().read() as session:
                plan = plan_sweep(session, spec, registry())
        except Q2QError as error:
            draw_invalid(t("new.invalid"), str(error))
            return
        _draw_numbers(plan)
        if st.button(t("new.start"), type="primary", icon=":material/play_arrow:", width="stretch"):
            _start(spec, editor)
        download(
            t("new.download"),
            to_yaml(draft),
            "sweep.yaml",
            type="tertiary",
        )


def _draw_numbers(plan: SweepPlan) -> None:
    tokens = count(plan.expected_tokens)
    values = {
        "questions": count(plan.n_questions),
        "cells": count(plan.cells),
        "requests": count(plan.requests),
        "tokens": t("plan.at_most", n=tokens) if plan.is_upper_bound else tokens,
        "time": t("plan.unknown") if plan.expected_s is None else duration(plan.expected_s),
    }
    plan_rows(
        [
            (t(f"plan.{name}"), value, None if name == "questions" else t(f"plan.{name}_help"))
            for name, value in values.items()
        ]
    )
    reasonings = counted("reasonings", plan.n_reasoning_slots)
    st.caption(f"{reasonings} + {counted('answers', plan.n_answer_slots)}")
    if plan.already_done:
        st.caption(t("plan.done", n=plan.already_done))
    for warning in plan.warnings:
        st.warning(escaped(warning), icon=":material/info:")


def _start(spec: SweepSpec, editor: SpecEditor) -> None:
    with errors_shown():
        known = registry()
        with database().write() as session:
            sweep_id, _ = queue_sweep(session, spec, known)
        editor.draft.forget()
        _leave()
        url.put("sweep", str(sweep_id))
        st.toast(t("sweeps.queued"), icon=":material/check:")
        st.rerun()
