"""The box in the menu of every page that searches everything; the key ``/`` leads to it."""

import re
import unicodedata
from pathlib import Path
from typing import Any, Final

import streamlit as st

from db.errors import Q2QError
from db.identity import Ref, parse_ref
from db.lineage.read import exists
from db.tables import Base, Dataset, Dialogue, RatingQueue, Round, Sweep, TrainingRun
from workbench.i18n import LANGUAGES, translate
from workbench.ui.components.controls import ITEM_PAGES, path_of
from workbench.ui.components.i18n import t
from workbench.ui.components.store import database

_BOX = "search_everything"
_SOUGHT = "search_sought"
_NUMBERED: Final[dict[str, type[Base]]] = {
    "sweep": Sweep,
    "dialogue": Dialogue,
    "queue": RatingQueue,
    "dataset": Dataset,
    "training_run": TrainingRun,
    "round": Round,
}
"""What people name by its kind and number, as in "sweep 3", and what lists it."""
_PAGES: Final = {**ITEM_PAGES, "queue": ("rating", "queue", "star")}
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
    elif sought and (numbered := _numbered(sought)):
        kind, number = numbered
        page, name, _ = _PAGES[kind]
        st.switch_page(path_of(page), query_params={name: str(number)})
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


def _numbered(sought: str) -> tuple[str, int] | None:
    """Return kind and number of what is there and called so, in any language of the pages."""
    typed = unicodedata.normalize("NFKC", sought).strip().lower()
    for kind, table in _NUMBERED.items():
        words = "|".join(translate(f"search.numbered.{kind}", one) for one in LANGUAGES)
        if found := re.fullmatch(rf"(?:{words})\s*#?([0-9]{{1,18}})", typed):
            number = int(found[1])
            with database().read() as session:
                return (kind, number) if session.get(table, number) else None
    return None


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("search_key", html="<i></i>", js=SCRIPT.read_text("utf-8"))
