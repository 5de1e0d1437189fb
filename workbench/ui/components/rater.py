"""Who rates: a name that the browser remembers. A label on a trusted machine, no login."""

import streamlit as st

from db.errors import UsageError
from db.rating.ratings import ensure_rater, list_raters
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import recalled, remember
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped

NAME = "rater_name"
COOKIE = "q2q_rater"
MOST_NAMES = 12
"""Names that can be chosen with one press."""


def current_rater() -> tuple[int, str] | None:
    """Return the id and name of who rates in this visit; None until a name is given."""
    name = st.session_state.get(NAME)
    if name is None:
        name = url.parameter("rater") or recalled(COOKIE)
    try:
        return enter(name) if name else None
    except UsageError:
        _forget()
        return None


def enter(name: str) -> tuple[int, str]:
    """Let the person called ``name`` rate from here on; return the id and name.

    Raises:
        UsageError: The name is empty, too long or not one line, or it is a model's.
    """
    name = name.strip()
    with database().read() as session:
        persons = {rater.name: rater.id for rater in list_raters(session) if rater.kind == "person"}
    if name not in persons:
        with database().write() as session:
            persons[name] = ensure_rater(session, name)
    st.session_state[NAME] = name
    remember(COOKIE, name)
    url.clear("rater")
    return persons[name], name


def draw_rater(says: str = "rate.rater_is") -> None:
    """Draw who rates, and a way to change it; ``says`` is the key of the words."""
    if current_rater() is not None:
        _draw_known(says)
        return
    with card("rater"):
        _draw_names()
        with st.form("rater", border=False):
            name = st.text_input(t("rate.rater_name"), help=t("rate.rater_help"))
            if st.form_submit_button(t("rate.rater_go"), type="primary"):
                with errors_shown():
                    enter(name)
                    st.rerun()


def ask_rater(says: str) -> str:
    """Draw who rates, or a field for the name beside what it is asked for; return the name."""
    if (rater := current_rater()) is not None:
        _draw_known(says)
        return rater[1]
    with card("rater"):
        _draw_names()
        return st.text_input(t("rate.rater_name"), help=t("rate.rater_help"), key="own_name")


def _draw_known(says: str) -> None:
    name = escaped(st.session_state[NAME])
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        st.markdown(f":material/person: {t(says, name=name)}", width="content")
        st.button(t("rate.rater_change"), type="tertiary", on_click=_forget)


def _draw_names() -> None:
    with database().read() as session:
        names = [rater.name for rater in list_raters(session) if rater.kind == "person"]
    if not names:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        for number, name in enumerate(names[:MOST_NAMES]):
            label = f":material/person: {escaped(name)}"
            if st.button(label, key=f"rater_{number}"):
                enter(name)
                st.rerun()


def _forget() -> None:
    st.session_state[NAME] = ""  # the browser's name does not count any more
    url.clear("rater")
