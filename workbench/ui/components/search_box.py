"""The box in the menu of every page that searches everything; the key ``/`` leads to it."""

from pathlib import Path
from typing import Any

import streamlit as st

from db.errors import Q2QError
from db.identity import Ref, parse_ref
from db.lineage.read import exists
from workbench.ui.components.controls import path_of
from workbench.ui.components.i18n import t
from workbench.ui.components.store import database

_BOX = "search_everything"
_SOUGHT = "search_sought"
SCRIPT = Path(__file__).with_name("search_box.js")


def search_box() -> None:
    """Draw the box; what is submitted leads to the item of that id, or to the page of hits."""
    st.text_input(
        t("shell.search"),
        key=_BOX,
        type="search",
        icon=":material/search:",
        placeholder=t("shell.search_hint"),
        on_change=_submit,
        label_visibility="collapsed",
        max_chars=200,
    )
    _component()(key="search_key", data={})
    sought = st.session_state.pop(_SOUGHT, "")
    if sought and (ref := _item(sought)):
        st.switch_page(path_of("explore"), query_params={"id": str(ref)})
    elif sought:
        st.switch_page(path_of("search"), query_params={"find": sought})


def _submit() -> None:
    st.session_state[_SOUGHT] = st.session_state[_BOX].strip()
    st.session_state[_BOX] = ""


def _item(sought: str) -> Ref | None:
    """Return the item that has ``sought`` as its id."""
    try:
        ref = parse_ref(sought)
        with database().read() as session:
            return ref if exists(session, ref) else None
    except Q2QError:
        return None


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("search_key", html="<i></i>", js=SCRIPT.read_text("utf-8"))
