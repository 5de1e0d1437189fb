"""Rating: its room. How many texts are ready for it, and where to read them meanwhile."""

import streamlit as st

from workbench.ui.i18n import counted, t
from workbench.ui.parts import empty_state, heading
from workbench.ui.store import database
from workbench.ui.store_reads import count_store


def draw() -> None:
    """Say what will be done here, and with how many texts."""
    heading(t("rating.title"), t("rating.lead"))
    with database().read() as session:
        counts = count_store(session)
    ready = f"{counted('reasonings', counts.variants)} · {counted('answers', counts.answers)}"
    with empty_state(
        "rating", ":material/star:", t("rating.next.title"), t("rating.next.text", ready=ready)
    ):
        st.page_link("app_pages/sweeps.py", label=t("nav.sweeps"), icon=":material/grid_view:")


draw()
