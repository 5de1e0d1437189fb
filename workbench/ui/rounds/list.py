"""The list of rounds, and the form of a new one: fields for what people usually set, and YAML."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from db.datasets import list_datasets
from db.errors import Q2QError
from db.identity import AS_STORED, WHEN_LOADED
from db.input_text import load_mapping
from db.models import get_model
from db.questions import QuestionFilter, question_ids
from db.rounds import RoundRow, is_rejected, list_rounds
from db.settings import settings
from serving.device import resolve_device
from training.methods import METHODS
from training.runs.presets import PRESETS, RunSettings
from training.runs.spec import TrainSpec, parse_spec
from workbench.rounds.spec import BASE, RoundSpec, parse_round
from workbench.rounds.start import begin_round, queue_round
from workbench.rounds.text import verdict_reason
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown, open_button, page_link
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Hint, Spec, SpecForm
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.parts import (
    Colour,
    card,
    card_head,
    empty_state,
    heading,
    section,
    state_badge,
)
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, free_name, told
from workbench.ui.training.form import draw_folded, draw_usual, first_asked, training_hints

STATES = {"open": "stopped", "waiting": "queued"}
"""Of rounds → the state whose badge they bear."""
VERDICT_COLOURS: Final[dict[str, Colour]] = {
    "keep": "green",
    "drop": "red",
    "branch": "blue",
    "not_enough_questions": "orange",
}
TAGGED = "tagged@1"
LONGEST_NAME: Final = 60


def draw_list() -> None:
    """Draw the rounds, and how to begin one."""
    heading(t("rounds.title"), t("rounds.lead"))
    with database().read() as session:
        datasets = [one.name for one in first_asked(list_datasets(session))]
        rounds = list_rounds(session)
        names = {one.id: get_model(session, one.starts_from_id).name for one in rounds}
    if datasets:
        draw_round_form(datasets, rounds)
    elif not rounds:
        with empty_state("rounds", "cycle", "rounds.none"):
            page_link("datasets", t("nav.datasets"), "dataset")
    if rounds:
        section(t("rounds.all"))
    for one in rounds:
        _draw(one, names[one.id])


def round_badge(found: RoundRow) -> None:
    """Draw how a round stands: its verdict once there is one, else its state."""
    if is_rejected(found):
        st.badge(t("rounds.rejected"), icon=":material/block:", color="red")
    elif found.verdict is not None:
        st.badge(word("verdict", found.verdict), color=VERDICT_COLOURS[found.verdict])
    elif found.state == "waiting":
        st.badge(t("rounds.waits"), icon=":material/front_hand:", color="orange")
    else:
        state_badge(STATES.get(found.state, found.state))


def _draw(found: RoundRow, starts_from: str) -> None:
    with card(f"round_{found.id}", gap="xsmall"):
        with card_head(f"round_{found.id}", escaped(found.name)):
            round_badge(found)
            open_button(t("rounds.open"), f"round_{found.id}", "round", found.id)
        st.caption(t("rounds.starts_from", model=escaped(starts_from)))
        if found.findings:
            st.caption(escaped(verdict_reason(found.findings, current_language())))
        elif found.reason:
            st.caption(escaped(found.reason))


def draw_round_form(datasets: Sequence[str], rounds: Sequence[RoundRow]) -> None:
    """Draw the form; a mistake is said under it before anything starts.

    Args:
        datasets: Names of the frozen datasets.
        rounds: All that there are.
    """
    draft = FormDraft("round")
    with card("round_new"):
        section(t("rounds.new"), t("rounds.new_help"))
        draft.draw_notice()
        fields = _draw_fields(draft, datasets, rounds)
        more_fields = st.expander(t("rounds.more"), icon=":material/tune:")
        with more_fields, st.container(key="yaml_round"):
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
    given = joined(fields, load_mapping(more, where="The spec")) if more.strip() else dict(fields)
    spec = parse_round(given, where=t("rounds.the_form"))
    parse_spec({"dataset": "rows", **spec.train}, where=t("rounds.the_training"))
    return spec


def _draw_fields(draft: FormDraft, datasets: Sequence[str], rounds: Sequence[RoundRow]) -> Spec:
    earlier = [one.name for one in rounds if one.verdict not in (None, "drop")]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", datasets[0]).strip("-")[: LONGEST_NAME - 4]
    name = free_name(plain or "round", {one.name for one in rounds})
    with database().read() as session:
        n_held_out = len(question_ids(session, QuestionFilter(held_out=True)))
    formats = [name for name, one in registry().formats.items() if one.definition.tasks.whole]
    hints = {
        "name": Hint(start=name, example="first", limits=(1, LONGEST_NAME)),
        "dataset": Hint(options=datasets, text="training.dataset"),
        "from": Hint(options=[BASE, *earlier], show=_start_name),
        "merge": Hint(widget="toggle"),
        "compare.questions.limit": Hint(example=t("rounds.questions_all", n=n_held_out)),
        "compare.precision": Hint(options=[AS_STORED, *WHEN_LOADED], show="precision"),
        "compare.formats": Hint(options=formats, start=[one for one in formats if one == TAGGED]),
        "compare.max_tokens": Hint(step=8),
        "compare.scores": Hint(widget="toggle"),
    }
    base = {"compare": {"questions": {"held_out": True}}}
    form = SpecForm(draft, RoundSpec, base, "rounds", hints)
    form.columns(("name",), ("dataset",), ("from",), ("merge",), vertical_alignment="bottom")
    preset = _preset_of(draft)
    training = SpecForm(draft, TrainSpec, {}, "train_spec", training_hints(preset))
    draw_usual(training, "preset")
    draw_folded(training, list(METHODS))
    form.columns(
        ("compare.questions.limit",),
        ("compare.formats",),
        ("compare.max_tokens",),
        ("compare.precision",),
        vertical_alignment="bottom",
    )
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    with left:
        form.draw("compare.variants")
    share = middle.number_input(
        t("rounds.well_formed"),
        0,
        100,
        step=5,
        key=draft.field("well_formed", 95),
        help=t("rounds.well_formed_help"),
    )
    with right:
        form.draw("compare.scores")
    form.put("compare.well_formed", share / 100)
    form.put("train", training.spec)
    return form.spec


def _preset_of(draft: FormDraft) -> RunSettings | None:
    """Return the settings of the preset that is chosen; None of the one that looks at the base."""
    chosen = st.session_state.get(draft.key("preset")) or draft.values.get("preset", "auto")
    if chosen == "auto" and resolve_device(settings().device) == "cpu":
        chosen = "laptop"
    return PRESETS.get(chosen)


def _start_name(start: str) -> str:
    return t("rounds.from_base") if start == BASE else start


def _checked(fields: Mapping[str, Any], more: str) -> RoundSpec | None:
    """Return the round, or say what is missing or wrong."""
    if not fields.get("name"):
        st.caption(t("rounds.name_missing"))
        return None
    if not fields["compare"].get("formats"):
        st.error(t("rounds.formats_missing"))
        return None
    try:
        return read_round(fields, more)
    except Q2QError as error:
        st.error(told(error))
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
