"""The curve of distinct questions: whether more of the same branch still brings new ones."""

import altair as alt
import pandas as pd
import streamlit as st

from db.dialogues import read_events
from db.settings import settings
from workbench.dialogue.embedding import Guard
from workbench.dialogue.exhaustion import Exhaustion
from workbench.dialogue.tree import Tree
from workbench.ui.components.i18n import t
from workbench.ui.components.store import database

MOST = 150
"""Proposals that are compared, the latest ones: the time to compare grows as their square."""


@st.cache_data(show_spinner=False, max_entries=50)
def _found(questions: tuple[str, ...]) -> Exhaustion:
    return Guard(settings()).exhaustion(questions)


def draw_curve(tree: Tree, node_id: int) -> None:
    """Draw the distinct questions among those proposed along the way to a question."""
    way = {node.id for node in tree.path(node_id)}
    with database().read() as session:
        events = read_events(session, tree.dialogue.id, kinds=("questions_shown",))
    proposed = [one["text"] for e in events if e.node_id in way for one in e.payload["candidates"]]
    texts = tuple(proposed[-MOST:])
    if len(texts) < 2:
        return
    found = _found(texts)
    knows = Guard(settings()).catches_paraphrases
    with st.expander(t("dlg.curve", n=found.n_distinct, most=found.n_proposals)):
        rows = [{"n": n, "distinct": d} for n, d in enumerate(found.curve, start=1)]
        chart = (
            alt.Chart(pd.DataFrame(rows))
            .mark_line(interpolate="step-after")
            .encode(
                x=alt.X("n:Q", title=t("dlg.curve_x")),
                y=alt.Y("distinct:Q", title=t("dlg.curve_y")),
            )
            .properties(height=180)
        )
        st.altair_chart(chart, width="stretch")
        if len(proposed) > MOST:
            st.caption(t("dlg.curve_latest", n=MOST, most=len(proposed)))
        if not knows:
            st.caption(t("dlg.curve_wording"))
        elif found.is_exhausted:
            st.warning(t("dlg.exhausted"), icon=":material/hourglass_empty:")
