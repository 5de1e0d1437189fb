"""A new sweep: its spec as a form and as YAML, and beside them the plan that it comes to."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import streamlit as st

from db.errors import Q2QError
from db.identity import AS_STORED, WHEN_LOADED, short_hash
from db.input_text import decoded
from db.models import list_models
from db.questions import question_facets
from db.sweeps import get_sweep
from db.tables import MODES
from serving.checks import CHECKS
from serving.engine.messages import SamplingParameters
from serving.models.as_served import VersionMissing
from serving.sweeps.plan import SweepPlan, plan_sweep, queue_sweep
from serving.sweeps.spec import FROM_EXISTING, OWN_ROLE, SweepSpec, parse_spec
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, download, errors_shown, trail
from workbench.ui.components.forms import Hint, Spec, SpecForm, entries, field_type, value_at
from workbench.ui.components.i18n import counted, t, translated, word
from workbench.ui.components.labels import count, duration
from workbench.ui.components.parts import card, heading, plan_rows
from workbench.ui.components.spec_editor import SpecEditor, draw_invalid, to_yaml
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, told

STARTING_SPEC: Mapping[str, Any] = {
    "variants": 3,
    "answers": 2,
    "reasoning_sampling": [{"temperature": 0.8, "top_p": 0.95, "max_tokens": 256}],
    "answer_sampling": [{"temperature": 0.7, "top_p": 0.95, "max_tokens": 256}],
}
"""What a new spec holds besides its name; everything else is the spec's own default."""
FIRST_SAMPLING = ("temperature", "top_p", "max_tokens")
"""What people look for first; a spec always says them."""
MORE_SAMPLING = (
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
SAMPLING_COLUMNS = FIRST_SAMPLING + MORE_SAMPLING


def draw_new() -> None:
    """Draw the spec of this visit and the plan that it comes to."""
    editor = _editor()
    trail(back_link(t("sweeps.back"), _leave, editor.draft), t("new.title"))
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
    url.clear("new", "from", "as", "tag", "questions")


def _editor() -> SpecEditor:
    """Return the spec: a new one, of the questions that the URL names, or a copy of a sweep."""
    source = url.number("from")
    if source is None:
        asked = url.parameter("tag") or url.parameter("questions")
        return SpecEditor(f"sweep-of-{short_hash(asked)}" if asked else "sweep", _new_spec)
    return SpecEditor(f"sweep-{source}", lambda: _copy_of(source))


def _new_spec() -> Spec:
    tag, asked = url.parameter("tag"), entries(url.parameter("questions"), int)
    chosen = {"tags": [tag]} if tag else {"ids": asked} if asked else {}
    questions = {"questions": chosen} if chosen else {}
    one = asked[0] if len(asked) == 1 else ""
    name = t("question.heading", id=one) if one.isdigit() else t("new.title")
    return {"name": tag or name, **questions, **STARTING_SPEC}


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
            plan = _planned(spec)
        except Q2QError as error:
            with st.container(key="plan_wrong"):
                draw_invalid(t("new.invalid"), translated(error))
            return
        _draw_numbers(plan)
        with st.container(horizontal=True, vertical_alignment="center", key="plan_start"):
            label = t("new.start")
            if st.button(label, type="primary", icon=":material/play_arrow:", width="stretch"):
                _start(spec, editor)
            download(t("new.download"), to_yaml(draft), "sweep.yaml", type="tertiary")


def _planned(spec: SweepSpec) -> SweepPlan:
    known = registry()
    try:
        with database().read() as session:
            return plan_sweep(session, spec, known)
    except VersionMissing:
        with database().write() as session:
            return plan_sweep(session, spec, known)


def _draw_numbers(plan: SweepPlan) -> None:
    tokens = count(plan.expected_tokens)
    values = {
        "questions": count(plan.n_questions),
        "cells": count(plan.cells),
        "requests": count(plan.requests),
        "tokens": t("plan.at_most", n=tokens) if plan.is_upper_bound else tokens,
        "time": t("plan.unknown") if plan.expected_s is None else duration(plan.expected_s),
    }
    short = f"**{counted('texts', plan.cells)}** · {t('plan.tokens')} {values['tokens']}"
    with st.container(key="plan_short"):
        st.markdown(f"{short} · {values['time']}" if plan.expected_s is not None else short)
    with st.container(key="plan_rows", gap="xsmall"):
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
        for model, servers in plan.servers.items():
            if len(servers) > 1:
                named = escaped(", ".join(servers))
                st.caption(t("plan.servers", model=escaped(model), n=len(servers), names=named))
    for warning in plan.warnings:
        st.warning(told(warning), icon=":material/info:")


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


def hints() -> dict[str, Hint]:
    """Return what the store offers for the form's lists, and how their entries read."""
    with database().read() as session:
        facets = question_facets(session)
        models = ["default", *(model.name for model in list_models(session))]
    known = registry()
    roles = list(dict.fromkeys(name.rpartition("@")[0] for name in known.roles))
    formats = [name for name, one in known.formats.items() if one.definition.tasks.answer]
    modes_help = "\n\n".join([t("spec.modes_help"), *map(_mode_line, MODES)])
    return {
        "questions.tags": Hint(options=list(facets.tags), show=_name),
        "questions.categories": Hint(options=list(facets.categories), show=_name),
        "questions.sources": Hint(show="source"),
        "questions.languages": Hint(options=list(facets.languages), show="language"),
        "questions.roles": Hint(options=roles, show="role"),
        "questions.ids": Hint(example="3-9, 12"),
        "modes": Hint(widget="pills", show="mode", help=modes_help),
        "formats": Hint(options=formats, show=_name),
        "roles": Hint(options=[OWN_ROLE, *roles], show="role"),
        "models": Hint(options=models, show="model_choice"),
        "max_cost": Hint(step=0.5),
        "max_tokens": Hint(step=100_000),
        "answer_models": Hint(options=models, show="model_choice"),
        "precision": Hint(options=[AS_STORED, *WHEN_LOADED], show="precision"),
        "reasonings.ids": Hint(example="3-9, 12"),
        "reasonings.checks_absent": Hint(options=list(CHECKS), show="check"),
    }


def draw_form(base: Spec, editor: SpecEditor) -> Spec:
    """Draw the form filled from ``base`` and return the spec that it holds now.

    Raises:
        ValueError: Fields cannot hold what ``base`` says.
    """
    form = SpecForm(editor.draft, SweepSpec, base, "spec", hints())
    with card("spec_what"):
        form.draw("name")
        st.markdown(f"**{t('spec.questions')}**", help=t("spec.questions_help"))
        form.columns(
            ("questions.tags", "questions.categories", "questions.ids", "questions.search"),
            ("questions.languages", "questions.sources", "questions.roles", "questions.limit"),
        )
    with card("spec_how"):
        modes = form.draw("modes")
        for mode in modes:
            st.caption(_mode_line(mode))
        form.columns(("variants", "formats"), ("answers", "roles"))
        if modes == ["reasoning"]:
            form.draw("one_pass")
        else:
            form.put("one_pass", None)
        if FROM_EXISTING & set(modes):
            _draw_reasonings(form)
        else:
            form.put("reasonings", None)
    with card("spec_models"):
        form.columns(("models", "precision"), ("answer_models",))
    with card("spec_sampling"):
        _draw_sampling(form, editor.version)
    with card("spec_budget"):
        form.columns(("max_cost",), ("max_tokens",))
    return form.spec


def _draw_reasonings(form: SpecForm) -> None:
    st.markdown(f"**{t('spec.reasonings')}**", help=t("spec.reasonings_help"))
    form.columns(
        ("reasonings.sweep", "reasonings.search"), ("reasonings.ids", "reasonings.checks_absent")
    )
    form.draw("reasonings.min_rating")


def _draw_sampling(form: SpecForm, version: str) -> None:
    names = ("reasoning_sampling", "answer_sampling")
    given = {name: value_at(form.base, name) for name in names}
    if not all(field_type(SweepSpec, name).holds(levels) for name, levels in given.items()):
        raise ValueError(names)
    st.markdown(f"**{t('spec.sampling')}**", help=t("spec.sampling_help"))
    st.caption(t("spec.sampling_lead"))
    chosen = [level for levels in given.values() for level in levels or ()]
    uses_more = any(name in level for level in chosen for name in MORE_SAMPLING)
    more_key = form.draft.key(f"more_{version}")
    shows_more = st.toggle(t("spec.sampling_more"), uses_more, key=more_key)
    for name in names:
        st.markdown(t(f"spec.{name}"))
        key = form.draft.key(f"{name}_{version}")
        begun = st.session_state.setdefault(f"begun_{key}", [sampling_rows(given[name])])
        rows = st.data_editor(
            begun[-1],
            num_rows="delete",
            hide_index=True,
            # An editor counts its changes from the rows that it was first drawn with.
            key=f"{key}_{len(begun)}",
            column_order=SAMPLING_COLUMNS if shows_more else FIRST_SAMPLING,
            column_config={column: _sampling_column(column) for column in SAMPLING_COLUMNS},
        )
        levels = sampling_levels(cast(list[dict[str, Any]], rows))
        form.put(name, levels or None)
        st.button(
            t("spec.sampling_add"),
            key=f"add_{name}",
            icon=":material/add:",
            type="tertiary",
            on_click=begun.append,
            args=(sampling_rows([*levels, another_level(levels)]),),
        )
    form.draw("seed")


def _sampling_column(name: str) -> Any:
    return st.column_config.NumberColumn(t(f"sampling.{name}"), help=t(f"sampling.{name}_help"))


def sampling_rows(levels: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Return sampling levels as rows of the form's table, every column filled."""
    defaults = SamplingParameters().resolved()
    return [
        {column: level.get(column, defaults[column]) for column in SAMPLING_COLUMNS}
        for level in levels or [{}]
    ]


def sampling_levels(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the form's table as sampling levels; cells left empty take the default.

    The first columns are always written, so that a spec shows what it does.
    """
    defaults = SamplingParameters().resolved()
    return [
        {
            name: int(row[name]) if isinstance(defaults[name], int) else float(row[name])
            for name in SAMPLING_COLUMNS
            if row.get(name) is not None and (name in FIRST_SAMPLING or row[name] != defaults[name])
        }
        for row in rows
    ]


def another_level(levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last of ``levels`` at a temperature that makes it a level of its own."""
    last = dict(levels[-1]) if levels else dict(STARTING_SPEC["reasoning_sampling"][0])
    steps = (tenths / 10 for tenths in (2, 5, 8, 10, 12, *range(20)))
    others = ({**last, "temperature": step} for step in steps)
    return next((one for one in others if one not in levels), last)


def _mode_line(mode: str) -> str:
    return f"**{word('mode', mode)}** — {t(f'mode_help.{mode}')}"


def _name(value: str) -> str:
    """Return a name of the store's own for a list."""
    return escaped(value).replace("\\", "")
