"""The app: theme, language, navigation. It reads the store, writes jobs, and never generates."""

import sys
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner_utils.exceptions import RerunException

from workbench.ui.components.controls import NAME, errors_shown
from workbench.ui.components.drafts import keep_in_browser
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.keys import draw_keys
from workbench.ui.components.page_frame import (
    language_switch,
    require_store,
    settle_modules,
    theme_switch,
)
from workbench.ui.components.parts import STYLE, STYLE_JA
from workbench.ui.components.search_box import search_box

IMAGES = Path(__file__).parent / "ui" / "components"
# Folder and address of each page, and its icon, in the menu's groups; what has no group heads it.
# (Streamlit would show a string that stands alone.)
GROUPS = {
    "": {"home": "home", "search": "search"},
    "ask": {
        "questions": "help_center",
        "sweeps": "grid_view",
        "explore": "travel_explore",
        "dialogues": "forum",
    },
    "judge": {"rating": "star", "insights": "insights"},
    "train": {
        "datasets": "dataset",
        "training": "model_training",
        "models": "deployed_code",
        "rounds": "cycle",
    },
}
PATHS = ["", *(name for pages in GROUPS.values() for name in pages if name != "home")]

st.set_page_config(
    page_title=NAME,
    page_icon=str(IMAGES / "icon.svg"),
    layout="wide",
    initial_sidebar_state="auto",
)
st.html(STYLE)
if current_language() == "ja":
    st.html(STYLE_JA)
st.logo(str(IMAGES / "mark.svg"), icon_image=str(IMAGES / "icon.svg"), size="large")

page = st.navigation(
    {
        group and t(f"nav.group.{group}"): [
            st.Page(
                f"ui/{name}/page.py",
                title=t(f"nav.{name}"),
                icon=f":material/{icon}:",
                url_path=None if name == "home" else name,
                default=name == "home",
                visibility="hidden" if name == "search" else "visible",
            )
            for name, icon in pages.items()
        ]
        for group, pages in GROUPS.items()
    }
)
st.set_page_config(page_title=f"{page.title} · {NAME}")
with st.sidebar:
    box = st.container()
    language_switch()
    theme_switch()
    draw_keys()
require_store()
with box:
    search_box()
try:
    with errors_shown():
        page.run()
finally:
    if not isinstance(sys.exception(), RerunException):
        with st.sidebar:
            keep_in_browser(page.url_path, PATHS)
settle_modules()
