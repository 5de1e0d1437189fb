"""The form of a new round: fields for what people usually set, YAML for all the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from db.errors import Q2QError
from db.questions import QuestionFilter, question_ids
from db.settings import settings
from training.rounds.spec import BASE, RoundSpec, parse_round
from training.runs.spec import parse_spec
from workbench.rounds.beginning import begin_round, queue_round
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.spec_draft import from_yaml
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped
from workbench.ui.training.list import PRESETS

TAGGED = "tagged@1"


def draw_round_form(datasets: Sequence[str], earlier: Sequence[str]) -> None:
    """Draw the form; a mistake is said under it before anything starts.

    Args:
        datasets: Names of the frozen datasets.
        earlier: Names of the rounds to go on from.
    """
    draft = FormDraft("round")
    with card("round_new"):
        section(t("rounds.new"), t("rounds.new_help"))
        draft.draw_notice()
        fields = {**_draw_what(draft, datasets, earlier), **_draw_training(draft)}
        fields["compare"] = _draw_comparing(draft)
        with st.expander(t("rounds.more"), icon=":material/tune:"):
            more = st.text_area(
                t("rounds.more_yaml"),
                key=draft.field("more", ""),
                placeholder=t("rounds.more_example"),
                help=t("rounds.more_help"),
            )
        spec = _checked(fields, more or "")
        if st.button(
            t("rounds.start"),
            type="primary",
            icon=":material/play_arrow:",
            disabled=spec is None,
        ):
            assert spec is not None
            _start(spec, draft)


def joined(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with ``more`` laid over them, key by key inside groups of keys."""
    found = dict(fields)
    for key, value in more.items():
        before = found.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = joined(before, value)
        found[key] = value
    return found


def read_round(fields: Mapping[str, Any], more: str) -> RoundSpec:
    """Return the round of the form, its settings of training looked at as well.

    Raises:
        UsageError: A field or a key of the YAML is wrong; the sentence names it.
    """
    given = joined(fields, from_yaml(more)) if more.strip() else dict(fields)
    spec = parse_round(given, where=t("rounds.the_form"))
    parse_spec({"dataset": "rows", **spec.train}, where=t("rounds.the_training"))
    return spec


def _draw_what(draft: FormDraft, datasets: Sequence[str], earlier: Sequence[str]) -> dict[str, Any]:
    left, middle, right = st.columns(3)
    name = left.text_input(
        t("rounds.name"),
        key=draft.field("name", ""),
        max_chars=60,
        placeholder="first",
        help=t("rounds.name_help"),
    )
    dataset = middle.selectbox(
        t("training.dataset"), datasets, key=draft.field("dataset", datasets[0], datasets)
    )
    starts = [BASE, *earlier]
    start = right.selectbox(
        t("rounds.from"),
        starts,
        key=draft.field("from", BASE, starts),
        format_func=lambda one: t("rounds.from_base") if one == BASE else one,
        help=t("rounds.from_help"),
    )
    return {"name": name or "", "dataset": dataset, "from": start}


def _draw_training(draft: FormDraft) -> dict[str, Any]:
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    preset = left.selectbox(
        t("training.preset"),
        PRESETS,
        key=draft.field("preset", PRESETS[0], PRESETS),
        format_func=lambda one: word("preset", one),
        help=t("training.preset_help"),
    )
    steps = middle.number_input(
        t("rounds.steps"),
        1,
        value=None,
        key=draft.field("steps"),
        placeholder=t("rounds.steps_preset"),
        help=t("rounds.steps_help"),
    )
    merge = right.toggle(
        t("rounds.merge"), key=draft.field("merge", True), help=t("rounds.merge_help")
    )
    train = {"preset": preset, **({"max_steps": int(steps)} if steps else {})}
    return {"train": train, "merge": merge}


def _draw_comparing(draft: FormDraft) -> dict[str, Any]:
    with database().read() as session:
        n_held_out = len(question_ids(session, QuestionFilter(held_out=True)))
    formats = [name for name, one in registry().formats.items() if one.definition.tasks.whole]
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    limit = left.number_input(
        t("rounds.questions"),
        1,
        value=None,
        key=draft.field("limit"),
        placeholder=t("rounds.questions_all", n=n_held_out),
        help=t("rounds.questions_help"),
    )
    chosen = middle.multiselect(
        t("rounds.formats"),
        formats,
        key=draft.field("formats", [name for name in formats if name == TAGGED], formats),
    )
    max_tokens = right.number_input(
        t("rounds.max_tokens"),
        8,
        step=8,
        key=draft.field("max_tokens", 256),
        help=t("rounds.max_tokens_help"),
    )
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    variants = left.number_input(
        t("rounds.variants"), 1, 100, key=draft.field("variants", 3), help=t("rounds.variants_help")
    )
    share = middle.number_input(
        t("rounds.well_formed"),
        0,
        100,
        step=5,
        key=draft.field("well_formed", 95),
        help=t("rounds.well_formed_help"),
    )
    scores = right.toggle(
        t("rounds.scores"), key=draft.field("scores", True), help=t("rounds.scores_help")
    )
    return {
        "questions": {"held_out": True, **({"limit": int(limit)} if limit else {})},
        "formats": chosen,
        "max_tokens": int(max_tokens),
        "variants": int(variants),
        "well_formed": share / 100,
        "scores": scores,
    }


def _checked(fields: Mapping[str, Any], more: str) -> RoundSpec | None:
    """Return the round, or say what is missing or wrong."""
    compare = fields["compare"]
    if not fields["name"]:
        st.caption(t("rounds.name_missing"))
        return None
    if not compare["formats"]:
        st.error(t("rounds.formats_missing"))
        return None
    try:
        return read_round(fields, more)
    except Q2QError as error:
        st.error(escaped(str(error)))
        return None


def _start(spec: RoundSpec, draft: FormDraft) -> None:
    with errors_shown():
        found = begin_round(database(), settings(), spec)
        with database().write() as session:
            queue_round(session, found.id)
        draft.forget()
        url.put("round", str(found.id))
        st.toast(t("rounds.queued"), icon=":material/check:")
        st.rerun()
