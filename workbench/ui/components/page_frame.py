"""What stands around every page: language, keys, a store that can be read, memory kept quick."""

import gc
import sys
import threading

import streamlit as st

from db.errors import Q2QError
from workbench.i18n import LANGUAGES, Language
from workbench.ui.components import url
from workbench.ui.components.drafts import THEME_COOKIE, THEMES, choose_theme, recalled, remember
from workbench.ui.components.i18n import LANGUAGE_COOKIE, current_language, t
from workbench.ui.components.store import database
from workbench.ui.components.text import told

_lock = threading.Lock()
_n_modules = 0


def language_switch() -> None:
    """Draw the switch of languages; the choice stands in the URL and stays in the browser."""
    st.session_state["language_widget"] = current_language()
    st.segmented_control(
        t("shell.language"),
        list(LANGUAGES),
        format_func=_name_of,
        key="language_widget",
        required=True,
        on_change=_choose_language,
        label_visibility="collapsed",
        width="stretch",
    )


def _name_of(language: Language) -> str:
    return LANGUAGES[language]


def _choose_language() -> None:
    st.session_state["language"] = st.session_state["language_widget"]
    remember(LANGUAGE_COOKIE, st.session_state["language"])
    url.put("lang", st.session_state["language"])


def theme_switch() -> None:
    """Draw the switch of themes: the system's, light or dark; the browser remembers it."""
    known = recalled(THEME_COOKIE)
    st.session_state["theme_widget"] = known if known in THEMES else THEMES[0]
    st.segmented_control(
        t("shell.theme"),
        THEMES,
        format_func=lambda theme: t(f"shell.theme.{theme}"),
        key="theme_widget",
        required=True,
        on_change=_choose_theme,
        label_visibility="collapsed",
        width="stretch",
    )


def _choose_theme() -> None:
    choose_theme(st.session_state["theme_widget"])


def require_store() -> None:
    """End the page with one clear sentence where the store cannot be used."""
    try:
        database()
    except Q2QError as error:
        st.error(told(error), icon=":material/database_off:")
        st.stop()


def settle_modules() -> None:
    """Exempt from collection what is in memory now, wherever modules were loaded since last time.

    Call it once a script has run: pages load what they need when they are first opened. Objects
    that are free of cycles are still freed as soon as nothing refers to them.
    """
    global _n_modules
    with _lock:
        if len(sys.modules) == _n_modules:
            return
        _n_modules = len(sys.modules)
        gc.collect()
        gc.freeze()
