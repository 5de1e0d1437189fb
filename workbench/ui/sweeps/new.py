"""A new sweep: a form and its YAML, two views of one draft, with the plan beside them."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from db.errors import Q2QError, UsageError
from db.input_text import decoded
from db.models import list_models
from db.questions import question_facets
from db.sweeps import get_sweep
from serving.checks import CHECKS
from serving.sweeps.plan import SweepPlan, plan_sweep
from serving.sweeps.spec import SweepSpec
from workbench.ui.components import url
from workbench.ui.components.actions import queue_sweep
from workbench.ui.components.controls import back_link, download, errors_shown
from workbench.ui.components.i18n import counted, t
from workbench.ui.components.labels import count, duration
from workbench.ui.components.parts import card, heading
from workbench.ui.components.spec_draft import Draft, check, new_draft, numbers, to_yaml
from workbench.ui.components.spec_editor import SpecEditor, Typed, within
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped
from workbench.ui.sweeps.form import MOST_TEXTS, Choices, draw_form

TYPED = {
    "name": Typed(("name",)),
    "search": Typed(("questions", "search")),
    "ids": Typed(("questions", "ids"), numbers),
    "limit": Typed(("questions", "limit"), within(1)),
    "variants": Typed(("variants",), within(1, MOST_TEXTS)),
    "answers": Typed(("answers",), within(0, MOST_TEXTS)),
    "seed": Typed(("seed",), within(0)),
    "from_sweep": Typed(("reasonings", "sweep"), within(1)),
    "from_search": Typed(("reasonings", "search")),
    "from_ids": Typed(("reasonings", "ids"), numbers),
    "from_rating": Typed(("reasonings", "min_rating"), within(-1e9, 1e9)),
}
"""The fields of the form that are typed into, and where their values stand in a spec."""


def draw_new() -> None:
    """Draw the draft of this visit and the plan that it comes to."""
    editor = _editor()
    back_link(t("sweeps.back"), _leave, editor.kept)
    heading(t("new.title"), t("new.lead"))
    editor.kept.draw_notice()
    left, right = st.columns([3, 2], gap="large")
    with left:
        as_text = url.segments("as", t("new.title"), ("form", "yaml"), lambda v: t(f"new.{v}"))
        draft = _draw_text(editor) if as_text == "yaml" else _draw_form(editor)
    with right, st.container(key="plan"):
        _draw_plan(draft, editor)


def _leave() -> None:
    url.clear("new", "from", "as")


def _editor() -> SpecEditor:
    """Return the draft: the default one, or a copy of the sweep that the URL names."""
    source = url.number("from")
    if source is None:
        return SpecEditor("sweep", lambda: new_draft(t("new.title")), TYPED)
    return SpecEditor(f"sweep-{source}", lambda: _copy_of(source), TYPED)


def _copy_of(sweep_id: int) -> Draft:
    try:
        with database().read() as session:
            return dict(get_sweep(session, sweep_id).spec)
    except Q2QError:
        return new_draft(t("new.title"))


def _draw_form(editor: SpecEditor) -> Draft | None:
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
    try:
        return editor.draw_form(
            lambda base, key: draw_form(base, choices, key),
            lambda spec: check(spec, t("new.title")),
        )
    except UsageError as error:
        _draw_invalid(str(error))
        st.caption(t("new.only_yaml"))
        return None


def _draw_text(editor: SpecEditor) -> Draft | None:
    upload = st.file_uploader(t("new.load"), type=["yaml", "yml"], key="spec_file")
    if upload is not None and st.session_state.get("spec_file_id") != upload.file_id:
        st.session_state["spec_file_id"] = upload.file_id
        try:
            editor.set_text(decoded(upload.getvalue(), where=upload.name))
        except UsageError as error:
            st.error(escaped(str(error)))
    try:
        return editor.draw_text(t("new.yaml_label"), height=420, help=t("new.yaml_help"))
    except UsageError as error:
        _draw_invalid(str(error))
        return None


def _draw_plan(draft: Mapping[str, Any] | None, editor: SpecEditor) -> None:
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
            _start(spec, editor)
        download(
            t("new.download"),
            to_yaml(draft),
            "sweep.yaml",
            type="tertiary",
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


def _start(spec: SweepSpec, editor: SpecEditor) -> None:
    with errors_shown():
        sweep_id = queue_sweep(database(), spec, registry())
        editor.kept.forget()
        _leave()
        url.put("sweep", str(sweep_id))
        st.toast(t("sweeps.queued"), icon=":material/check:")
        st.rerun()
