"""Marks that the pages of dialogues share: the state of a session, what nobody chose."""

import streamlit as st

from workbench.ui.components.i18n import t
from workbench.ui.components.parts import Colour

LOOKS: dict[str, tuple[Colour, str]] = {
    "open": ("green", ":material/forum:"),
    "paused": ("orange", ":material/pause_circle:"),
    "closed": ("gray", ":material/lock:"),
}


def state_mark(state: str) -> None:
    """Draw the state of a dialogue."""
    colour, icon = LOOKS[state]
    st.badge(t(f"dlg.state.{state}"), icon=icon, color=colour)


def automatic_mark() -> None:
    """Draw that nobody chose this: it happened within turns that ran by themselves."""
    st.badge(
        t("tree.automatic"),
        icon=":material/smart_toy:",
        color="orange",
        help=t("tree.automatic_help"),
    )
