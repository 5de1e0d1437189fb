"""A new dataset: its rules as a form and as YAML, and beside them what each takes and drops."""

import streamlit as st

from db.errors import Q2QError, UsageError
from db.questions import question_facets
from db.rating_columns import high_water
from training.datasets.spec import parse_yaml
from workbench.ui import url
from workbench.ui.dataset_counts import draw_cautions, draw_counts
from workbench.ui.dataset_form import DatasetChoices, draw_form, starting_rules
from workbench.ui.dataset_reads import freeze_rules, preview
from workbench.ui.i18n import t
from workbench.ui.parts import back_link, card, heading
from workbench.ui.spec_draft import Draft, from_yaml, to_yaml
from workbench.ui.store import database, registry
from workbench.ui.text import escaped

DRAFT = "dataset_draft"
TEXT = "dataset_draft_text"
VERSION = "dataset_draft_version"


def draw_new() -> None:
    """Draw the rules of this visit and what they come to."""
    back_link(t("datasets.back"), _leave)
    heading(t("dataset.new_title"), t("dataset.new_lead"))
    if DRAFT not in st.session_state:
        with database().read() as session:
            is_rated = not high_water(session).startswith("0/")
        _set(starting_rules(is_rated=is_rated))
    left, right = st.columns([1, 1], gap="large")
    with left:
        as_text = url.segments(
            "as", t("dataset.new_title"), ("form", "yaml"), lambda v: t(f"new.{v}")
        )
        draft = _draw_text() if as_text == "yaml" else _draw_form()
    with right, card("dataset_preview"):
        st.markdown(f"**{t('dataset.preview')}**", help=t("dataset.preview_help"))
        if draft is not None:
            _draw_preview(to_yaml(draft))


def _leave() -> None:
    url.clear("new", "as")


def _set(draft: Draft) -> None:
    st.session_state[DRAFT] = draft
    st.session_state[VERSION] = st.session_state.get(VERSION, 0) + 1


def _draw_form() -> Draft:
    if st.session_state.pop(TEXT, None) is not None:
        st.session_state[VERSION] += 1
    with database().read() as session:
        facets = question_facets(session)
    roles = list(dict.fromkeys(name.rpartition("@")[0] for name in registry().roles))
    choices = DatasetChoices(tags=list(facets.tags), languages=list(facets.languages), roles=roles)
    version = st.session_state[VERSION]
    base = st.session_state.setdefault(f"{DRAFT}_{version}", st.session_state[DRAFT])
    draft = draw_form(base, choices, f"dataset{version}")
    st.session_state[DRAFT] = draft
    return draft


def _draw_text() -> Draft | None:
    st.session_state.setdefault(TEXT, to_yaml(st.session_state[DRAFT]))
    text = st.text_area(t("dataset.yaml"), st.session_state[TEXT], height=460)
    st.session_state[TEXT] = text or ""
    try:
        draft = from_yaml(text or "")
    except UsageError as error:
        _draw_problems(str(error))
        return None
    st.session_state[DRAFT] = draft
    return draft


def _draw_preview(text: str) -> None:
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
    if st.button(
        t("dataset.freeze"),
        type="primary",
        icon=":material/ac_unit:",
        width="stretch",
        help=t("dataset.freeze_help"),
        disabled=not counts["rows"]["train"],
    ):
        try:
            dataset_id = freeze_rules(rules)
        except Q2QError as error:
            st.error(escaped(str(error)))
            return
        for key in (DRAFT, TEXT):
            st.session_state.pop(key, None)
        _leave()
        url.put("dataset", str(dataset_id))
        st.toast(t("dataset.frozen"), icon=":material/check:")
        st.rerun()
    st.download_button(
        t("dataset.download_rules"),
        text,
        "dataset.yaml",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )


def _draw_problems(problems: str) -> None:
    st.markdown(f":red[:material/error:] **{t('dataset.invalid')}**")
    st.text("\n".join(part.strip() for part in problems.split("; ")), width="stretch")
