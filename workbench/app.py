"""The app: theme, language, navigation. It reads the store, writes jobs, and never generates."""

import sys
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner_utils.exceptions import RerunException

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
        st.Page("ui/home/page.py", title=t("nav.home"), icon=":material/home:", default=True),
        st.Page(
            "ui/questions/page.py",
            title=t("nav.questions"),
            icon=":material/help_center:",
            url_path="questions",
        ),
        st.Page(
            "ui/sweeps/page.py",
            title=t("nav.sweeps"),
            icon=":material/grid_view:",
            url_path="sweeps",
        ),
        st.Page(
            "ui/explore/page.py",
            title=t("nav.explore"),
            icon=":material/travel_explore:",
            url_path="explore",
        ),
        st.Page(
            "ui/rating/page.py",
            title=t("nav.rating"),
            icon=":material/star:",
            url_path="rating",
        ),
        st.Page(
            "ui/dialogues/page.py",
            title=t("nav.dialogues"),
            icon=":material/forum:",
            url_path="dialogues",
        ),
        st.Page(
            "ui/insights/page.py",
            title=t("nav.insights"),
            icon=":material/insights:",
            url_path="insights",
        ),
        st.Page(
            "ui/datasets/page.py",
            title=t("nav.datasets"),
            icon=":material/dataset:",
            url_path="datasets",
        ),
        st.Page(
            "ui/training/page.py",
            title=t("nav.training"),
            icon=":material/model_training:",
            url_path="training",
        ),
        st.Page(
            "ui/models/page.py",
            title=t("nav.models"),
            icon=":material/deployed_code:",
            url_path="models",
        ),
        st.Page(
            "ui/rounds/page.py",
            title=t("nav.rounds"),
            icon=":material/cycle:",
            url_path="rounds",
        ),
    ]
)
with st.sidebar:
    language_switch()
    shortcuts_help()
require_store()
try:
    page.run()
finally:
    if not isinstance(sys.exception(), RerunException):
        with st.sidebar:
            keep_in_browser(page.url_path)
settle_modules()
