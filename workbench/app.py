"""The app: theme, language, navigation. It reads the store, writes jobs, and never generates."""

import sys
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner_utils.exceptions import RerunException

from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import keep_in_browser
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.page_frame import (
    language_switch,
    require_store,
    settle_modules,
    shortcuts_help,
)
from workbench.ui.components.parts import STYLE, STYLE_JA

IMAGES = Path(__file__).parent / "ui" / "components"
# Folder and address of each page, and its icon. (Streamlit would show a string that stands alone.)
PAGES = {
    "home": "home",
    "questions": "help_center",
    "sweeps": "grid_view",
    "explore": "travel_explore",
    "rating": "star",
    "dialogues": "forum",
    "insights": "insights",
    "datasets": "dataset",
    "training": "model_training",
    "models": "deployed_code",
    "rounds": "cycle",
}

st.set_page_config(
    page_title="Q2Q Workbench",
    page_icon=str(IMAGES / "icon.svg"),
    layout="wide",
    initial_sidebar_state="auto",
)
st.html(STYLE)
if current_language() == "ja":
    st.html(STYLE_JA)
st.logo(str(IMAGES / "mark.svg"), icon_image=str(IMAGES / "icon.svg"), size="large")

page = st.navigation(
    [
        st.Page(
            f"ui/{name}/page.py",
            title=t(f"nav.{name}"),
            icon=f":material/{icon}:",
            url_path=None if name == "home" else name,
            default=name == "home",
        )
        for name, icon in PAGES.items()
    ]
)
with st.sidebar:
    language_switch()
    shortcuts_help()
require_store()
try:
    with errors_shown():
        page.run()
finally:
    if not isinstance(sys.exception(), RerunException):
        with st.sidebar:
            keep_in_browser(page.url_path)
settle_modules()
