"""A new dataset: its rules as a form and as YAML, and beside them what each takes and drops."""

import streamlit as st

from db.errors import Q2QError, UsageError
from db.questions import question_facets
from db.rating.columns import high_water
from training.datasets.spec import parse_rules, parse_yaml
from workbench.ui.components import url
from workbench.ui.components.cautions import nothing_trains
from workbench.ui.components.controls import back_link, download, errors_shown
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.parts import card, heading
from workbench.ui.components.spec_draft import Draft, to_yaml
from workbench.ui.components.spec_editor import SpecEditor, Typed, within
from workbench.ui.components.store import database, registry
from workbench.ui.datasets.counts import draw_cautions, draw_counts
from workbench.ui.datasets.form import KINDS, DatasetChoices, draw_form, starting_rules
from workbench.ui.datasets.reads import freeze_rules, preview

TYPED = {
    "name": Typed(("name",)),
    **{f"{kind}_per_question": Typed(("per_question",), within(1)) for kind in KINDS},
    **{f"{kind}_held_out": Typed(("held_out",), within(0.0, 0.5)) for kind in KINDS},
}
"""The fields of the form that are typed into, and where their values stand in the rules."""


def draw_new() -> None:
    """Draw the rules of this visit and what they come to."""
    editor = SpecEditor("rules", _start, TYPED)
    back_link(t("datasets.back"), _leave, editor.kept)
    heading(t("dataset.new_title"), t("dataset.new_lead"))
    editor.kept.draw_notice()
    left, right = st.columns([1, 1], gap="large")
    with left:
        as_text = url.segments(
            "as", t("dataset.new_title"), ("form", "yaml"), lambda v: t(f"new.{v}")
        )
        draft = _draw_text(editor) if as_text == "yaml" else _draw_form(editor)
    with right, card("dataset_preview"):
        st.markdown(f"**{t('dataset.preview')}**", help=t("dataset.preview_help"))
        if draft is not None:
            _draw_preview(to_yaml(draft), editor)


def _start() -> Draft:
    with database().read() as session:
        is_rated = not high_water(session).startswith("0/")
    return starting_rules(is_rated=is_rated)


def _leave() -> None:
    url.clear("new", "as")


def _draw_form(editor: SpecEditor) -> Draft | None:
    with database().read() as session:
        facets = question_facets(session)
    roles = list(dict.fromkeys(name.rpartition("@")[0] for name in registry().roles))
    choices = DatasetChoices(tags=list(facets.tags), languages=list(facets.languages), roles=roles)
    try:
        return editor.draw_form(
            lambda base, key: draw_form(base, choices, key),
            lambda rules: parse_rules(rules, where=t("dataset.rules")),
        )
    except UsageError as error:
        _draw_problems(str(error))
        st.caption(t("new.only_yaml"))
        return None


def _draw_text(editor: SpecEditor) -> Draft | None:
    try:
        return editor.draw_text(t("dataset.yaml"), height=460)
    except UsageError as error:
        _draw_problems(str(error))
        return None


def _draw_preview(text: str, editor: SpecEditor) -> None:
    try:
        with st.spinner(t("dataset.counting"), show_time=True):
            rules = parse_yaml(text, where=t("dataset.rules"))
            found = preview(text)
    except Q2QError as error:
        _draw_problems(str(error))
        return
    counts = found.counts
    draw_counts(counts, "preview", is_frozen=False)
    draw_cautions(found.cautions)
    if sentence := nothing_trains(counts, current_language()):
        st.info(sentence)
    if st.button(
        t("dataset.freeze"),
        type="primary",
        icon=":material/ac_unit:",
        width="stretch",
        help=t("dataset.freeze_help"),
        disabled=not counts["rows"]["train"],
    ):
        with errors_shown():
            dataset_id = freeze_rules(rules)
            editor.kept.forget()
            _leave()
            url.put("dataset", str(dataset_id))
            st.toast(t("dataset.frozen"), icon=":material/check:")
            st.rerun()
    download(
        t("dataset.download_rules"),
        text,
        "dataset.yaml",
        type="tertiary",
    )


def _draw_problems(problems: str) -> None:
    st.markdown(f":red[:material/error:] **{t('dataset.invalid')}**")
    st.text("\n".join(part.strip() for part in problems.split("; ")), width="stretch")
