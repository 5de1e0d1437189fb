"""The app: theme, language, navigation. It reads the store, writes jobs, and never generates."""

import sys
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner_utils.exceptions import RerunException

from workbench.ui.drafts import keep_in_browser
from workbench.ui.i18n import current_language, t
from workbench.ui.memory import settle_modules
from workbench.ui.parts import STYLE, STYLE_JA
from workbench.ui.shell import language_switch, require_store, shortcuts_help

HERE = Path(__file__).parent

st.set_page_config(
    page_title="Q2Q Workbench",
    page_icon=str(HERE / "ui" / "icon.svg"),
    layout="wide",
    initial_sidebar_state="auto",
)
st.html(STYLE)
if current_language() == "ja":
    st.html(STYLE_JA)
st.logo(str(HERE / "ui" / "mark.svg"), icon_image=str(HERE / "ui" / "icon.svg"), size="large")

page = st.navigation(
    [
        st.Page("app_pages/home.py", title=t("nav.home"), icon=":material/home:", default=True),
        st.Page(
            "app_pages/questions.py",
            title=t("nav.questions"),
            icon=":material/help_center:",
            url_path="questions",
        ),
        st.Page(
            "app_pages/sweeps.py",
            title=t("nav.sweeps"),
            icon=":material/grid_view:",
            url_path="sweeps",
        ),
        st.Page(
            "app_pages/explore.py",
            title=t("nav.explore"),
            icon=":material/travel_explore:",
            url_path="explore",
        ),
        st.Page(
            "app_pages/rating.py",
            title=t("nav.rating"),
            icon=":material/star:",
            url_path="rating",
        ),
        st.Page(
            "app_pages/dialogues.py",
            title=t("nav.dialogues"),
            icon=":material/forum:",
            url_path="dialogues",
        ),
        st.Page(
            "app_pages/insights.py",
            title=t("nav.insights"),
            icon=":material/insights:",
            url_path="insights",
        ),
        st.Page(
            "app_pages/datasets.py",
            title=t("nav.datasets"),
            icon=":material/dataset:",
            url_path="datasets",
        ),
        st.Page(
            "app_pages/training.py",
            title=t("nav.training"),
            icon=":material/model_training:",
            url_path="training",
        ),
        st.Page(
            "app_pages/models.py",
            title=t("nav.models"),
            icon=":material/deployed_code:",
            url_path="models",
        ),
        st.Page(
            "app_pages/rounds.py",
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
