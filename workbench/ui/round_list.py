"""The rounds, newest first, and the form that starts one from its YAML."""

from typing import Final

import streamlit as st

from db.datasets import list_datasets
from db.errors import Q2QError
from db.models import get_model
from db.rounds import RoundRow, list_rounds
from db.settings import settings
from training.rounds.spec import BASE, parse_round
from workbench.rounds.beginning import begin_round, queue_round
from workbench.ui import url
from workbench.ui.i18n import t, word
from workbench.ui.parts import Colour, card, empty_state, heading, section, state_badge
from workbench.ui.spec_draft import from_yaml
from workbench.ui.store import database
from workbench.ui.text import escaped

STATES = {"open": "stopped", "waiting": "queued"}
"""Of rounds → the state whose badge they bear."""
VERDICT_COLOURS: Final[dict[str, Colour]] = {"keep": "green", "drop": "red", "branch": "blue"}


def draw_list() -> None:
    """Draw the rounds, and how to begin one."""
    heading(t("rounds.title"), t("rounds.lead"))
    with database().read() as session:
        datasets = [one.name for one in list_datasets(session)]
        rounds = list_rounds(session)
        names = {one.id: get_model(session, one.starts_from_id).name for one in rounds}
    if datasets:
        _draw_form(datasets, [one.name for one in rounds if one.verdict not in (None, "drop")])
    elif not rounds:
        with empty_state(
            "rounds", ":material/cycle:", t("rounds.none.title"), t("rounds.none.text")
        ):
            st.page_link(
                "app_pages/datasets.py", label=t("nav.datasets"), icon=":material/dataset:"
            )
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


def _draw_form(datasets: list[str], earlier: list[str]) -> None:
    with card("round_new"):
        section(t("rounds.new"), t("rounds.new_help"))
        left, middle, right = st.columns(3)
        with left:
            name = st.text_input(t("rounds.name"), max_chars=60, placeholder="first")
        with middle:
            dataset = st.selectbox(t("training.dataset"), datasets)
        with right:
            start = st.selectbox(
                t("rounds.from"),
                [BASE, *earlier],
                format_func=lambda one: t("rounds.from_base") if one == BASE else one,
                help=t("rounds.from_help"),
            )
        more = st.text_area(
            t("rounds.more"),
            "train: {preset: auto}\ncompare: {variants: 3}",
            help=t("rounds.more_help"),
        )
        if st.button(
            t("rounds.start"), type="primary", icon=":material/play_arrow:", disabled=not name
        ):
            _start(str(name), str(dataset), str(start), more or "")


def _start(name: str, dataset: str, start: str, more: str) -> None:
    try:
        given = from_yaml(more) if more.strip() else {}
        spec = parse_round({**given, "name": name, "dataset": dataset, "from": start})
        found = begin_round(database(), settings(), spec)
        with database().write() as session:
            queue_round(session, found.id)
    except Q2QError as error:
        st.error(escaped(str(error)))
        return
    url.put("round", str(found.id))
    st.toast(t("rounds.queued"), icon=":material/check:")
    st.rerun()


def _draw(found: RoundRow, starts_from: str) -> None:
    with card(f"round_{found.id}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{escaped(found.name)}**", width="content")
            round_badge(found)
            st.space("stretch")
            st.button(
                t("rounds.open"),
                icon=":material/arrow_forward:",
                key=f"round_{found.id}",
                on_click=url.put,
                args=("round", str(found.id)),
            )
        st.caption(t("rounds.starts_from", model=escaped(starts_from)))
        if found.reason:
            st.caption(escaped(found.reason))
