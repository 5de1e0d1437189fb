"""The rounds, newest first, and the form that starts one."""

from typing import Final

import streamlit as st

from db.datasets import list_datasets
from db.models import get_model
from db.rounds import RoundRow, list_rounds
from workbench.rounds.text import said
from workbench.ui.components.controls import open_button, page_link
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
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped
from workbench.ui.rounds.form import draw_round_form

STATES = {"open": "stopped", "waiting": "queued"}
"""Of rounds → the state whose badge they bear."""
VERDICT_COLOURS: Final[dict[str, Colour]] = {
    "keep": "green",
    "drop": "red",
    "branch": "blue",
    "not_enough_questions": "orange",
}


def draw_list() -> None:
    """Draw the rounds, and how to begin one."""
    heading(t("rounds.title"), t("rounds.lead"))
    with database().read() as session:
        datasets = [one.name for one in list_datasets(session)]
        rounds = list_rounds(session)
        names = {one.id: get_model(session, one.starts_from_id).name for one in rounds}
    if datasets:
        draw_round_form(datasets, [one.name for one in rounds if one.verdict not in (None, "drop")])
    elif not rounds:
        with empty_state("rounds", "cycle", "rounds.none"):
            page_link("datasets", t("nav.datasets"), "dataset")
    if rounds:
        section(t("rounds.all"))
    for one in rounds:
        _draw(one, names[one.id])


def round_badge(found: RoundRow) -> None:
    """Draw how a round stands: its verdict once there is one, else its state."""
    if found.verdict is not None:
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
            st.caption(escaped(said(found.findings, current_language())))
        elif found.reason:
            st.caption(escaped(found.reason))
