"""A new sweep: a form and its YAML, two views of one draft, with the plan beside them."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from db.errors import Q2QError, UsageError
from db.models import list_models
from db.questions import question_facets
from db.sweeps import get_sweep
from db.yaml_text import decoded
from serving.checks import CHECKS
from serving.sweeps.plan import SweepPlan, plan_sweep
from serving.sweeps.spec import SweepSpec
from workbench.ui import url
from workbench.ui.actions import queue_sweep
from workbench.ui.figures import count, duration
from workbench.ui.i18n import counted, t
from workbench.ui.parts import back_link, card, heading
from workbench.ui.spec_draft import Draft, check, from_yaml, new_draft, to_yaml
from workbench.ui.spec_form import Choices, draw_form
from workbench.ui.store import database, registry
from workbench.ui.text import escaped

DRAFT = "sweep_draft"
TEXT = "sweep_draft_text"
VERSION = "sweep_draft_version"
MADE_FROM = "sweep_draft_from"


def draw_new() -> None:
    """Draw the draft of this visit and the plan that it comes to."""
    back_link(t("sweeps.back"), _leave)
    heading(t("new.title"), t("new.lead"))
    _begin()
    left, right = st.columns([3, 2], gap="large")
    with left:
        as_text = url.segments("as", t("new.title"), ("form", "yaml"), lambda v: t(f"new.{v}"))
        draft = _draw_text() if as_text == "yaml" else _draw_form()
    with right, st.container(key="plan"):
        _draw_plan(draft)


def _leave() -> None:
    url.clear("new", "from", "as")


def _begin() -> None:
    """Make the draft: the default one, or a copy of the sweep that the URL names."""
    source = url.parameter("from") or ""
    if DRAFT in st.session_state and st.session_state.get(MADE_FROM, "") == source:
        return
    _set(_copy_of(int(source)) if source.isdigit() else new_draft(t("new.title")))
    st.session_state[MADE_FROM] = source


def _copy_of(sweep_id: int) -> Draft:
    try:
        with database().read() as session:
            return dict(get_sweep(session, sweep_id).spec)
    except Q2QError:
        return new_draft(t("new.title"))


def _set(draft: Draft) -> None:
    """Take ``draft``; the fields of both views are filled afresh."""
    st.session_state[DRAFT] = draft
    st.session_state[VERSION] = st.session_state.get(VERSION, 0) + 1


def _draw_form() -> Draft:
    if TEXT in st.session_state:
        del st.session_state[TEXT]
        st.session_state[VERSION] += 1
    with database().read() as session:
        facets = question_facets(session)
        models = [model.name for model in list_models(session)]
    book = registry()
    choices = Choices(
        tags=list(facets.tags),
        languages=list(facets.languages),
        roles=list(dict.fromkeys(name.rpartition("@")[0] for name in book.roles)),
        formats=[name for name, one in book.formats.items() if one.definition.tasks.answer],
        models=["default", *models],
        checks=list(CHECKS),
    )
    version = st.session_state[VERSION]
    base = st.session_state.setdefault(f"{DRAFT}_{version}", st.session_state[DRAFT])
    st.session_state[DRAFT] = draw_form(base, choices, f"spec{version}")
    draft: Draft = st.session_state[DRAFT]
    return draft


def _draw_text() -> Draft | None:
    st.session_state.setdefault(TEXT, to_yaml(st.session_state[DRAFT]))
    upload = st.file_uploader(t("new.load"), type=["yaml", "yml"], key="spec_file")
    if upload is not None and st.session_state.get("spec_file_id") != upload.file_id:
        st.session_state["spec_file_id"] = upload.file_id
        try:
            st.session_state[TEXT] = decoded(upload.getvalue(), where=upload.name)
        except UsageError as error:
            st.error(escaped(str(error)))
    text = st.text_area(
        t("new.yaml_label"), st.session_state[TEXT], height=420, help=t("new.yaml_help")
    )
    st.session_state[TEXT] = text or ""
    try:
        draft = from_yaml(text or "")
    except UsageError as error:
        _draw_invalid(str(error))
        return None
    st.session_state[DRAFT] = draft
    return draft


def _draw_plan(draft: Mapping[str, Any] | None) -> None:
    with card("plan"):
        st.markdown(f"**{t('new.plan')}**")
        if draft is None:
            return
        try:
            spec = check(draft, t("new.title"))
            with database().read() as session:
                plan = plan_sweep(session, spec, registry())
        except Q2QError as error:
            _draw_invalid(str(error))
            return
        _draw_numbers(plan)
        if st.button(t("new.start"), type="primary", icon=":material/play_arrow:", width="stretch"):
            _start(spec)
        st.download_button(
            t("new.download"),
            to_yaml(draft),
            "sweep.yaml",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
        )


def _draw_numbers(plan: SweepPlan) -> None:
    tokens = count(plan.expected_tokens)
    for name, value in (
        ("questions", count(plan.n_questions)),
        ("cells", count(plan.cells)),
        ("requests", count(plan.requests)),
        ("tokens", t("plan.at_most", n=tokens) if plan.is_upper_bound else tokens),
        ("time", t("plan.unknown") if plan.expected_s is None else duration(plan.expected_s)),
    ):
        help_text = t(f"plan.{name}_help") if name != "questions" else None
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":gray[{t(f'plan.{name}')}]", help=help_text, width="content")
            st.space("stretch")
            st.markdown(f"**{value}**", width="content")
    reasonings = counted("reasonings", plan.n_reasoning_slots)
    st.caption(f"{reasonings} + {counted('answers', plan.n_answer_slots)}")
    if plan.already_done:
        st.caption(t("plan.done", n=plan.already_done))
    for warning in plan.warnings:
        st.warning(escaped(warning), icon=":material/info:")


def _draw_invalid(problems: str) -> None:
    st.markdown(f":red[:material/error:] **{t('new.invalid')}**")
    st.text("\n".join(part.strip() for part in problems.split("; ")), width="stretch")


def _start(spec: SweepSpec) -> None:
    try:
        sweep_id = queue_sweep(database(), spec, registry())
    except Q2QError as error:
        st.error(escaped(str(error)))
        return
    for key in (DRAFT, TEXT):
        st.session_state.pop(key, None)
    _leave()
    url.put("sweep", str(sweep_id))
    st.toast(t("sweeps.queued"), icon=":material/check:")
    st.rerun()
