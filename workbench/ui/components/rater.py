"""Who rates: a name, kept for the visit and in the URL. A label on a trusted machine, no login."""

import streamlit as st

from db.errors import UsageError
from db.rating.ratings import ensure_rater, list_raters
from workbench.ui.components import url
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped

NAME = "rater_name"


def current_rater() -> tuple[int, str] | None:
    """Return the id and name of who rates in this visit; None until a name is given."""
    name = st.session_state.get(NAME) or url.parameter("rater")
    if not name:
        return None
    try:
        with database().read() as session:
            known = {one.name: one for one in list_raters(session, archived=None)}
        if name in known and known[name].kind == "person":
            rater_id = known[name].id
        else:
            with database().write() as session:
                rater_id = ensure_rater(session, name)
    except UsageError:
        _forget()
        return None
    st.session_state[NAME] = name
    url.put("rater", name)
    return rater_id, name


def draw_rater(says: str = "rate.rater_is") -> None:
    """Draw who rates, and a way to change it; ``says`` is the key of the words."""
    rater = current_rater()
    if rater is None:
        _ask()
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        st.markdown(f":material/person: {t(says, name=escaped(rater[1]))}", width="content")
        st.button(t("rate.rater_change"), type="tertiary", on_click=_forget)


def _ask() -> None:
    with card("rater"), st.form("rater", border=False):
        with database().read() as session:
            known = [rater.name for rater in list_raters(session) if rater.kind == "person"]
        name = st.selectbox(
            t("rate.rater_name"),
            known,
            None,
            accept_new_options=True,
            placeholder=t("rate.rater_placeholder"),
            help=t("rate.rater_help"),
        )
        if st.form_submit_button(t("rate.rater_go"), type="primary"):
            try:
                with database().write() as session:
                    ensure_rater(session, name or "")
            except UsageError as error:
                st.error(escaped(str(error)))
                return
            st.session_state[NAME] = (name or "").strip()
            st.rerun()


def _forget() -> None:
    st.session_state.pop(NAME, None)
    url.clear("rater")
