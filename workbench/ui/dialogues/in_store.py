"""On demand: whether another work in the store has asked what is proposed here."""

from collections.abc import Mapping, Sequence

import streamlit as st
from sqlalchemy import func, select

from db.settings import settings
from db.tables import Question
from workbench.dialogue.cards import Candidate, NodeView
from workbench.dialogue.embedding import Guard
from workbench.dialogue.in_store import StoreComparison, StoreMatch, like_in_store
from workbench.ui.components.i18n import t
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped
from workbench.ui.dialogues.acts import remember, remembered

Like = Mapping[str, StoreMatch | None]


def store_button(view: NodeView) -> None:
    """Draw the button that compares what is proposed with all questions of the store."""
    if not any(one.is_shown for one in view.candidates):
        return
    st.button(
        t("store.hide") if remembered("in_store") else t("store.compare"),
        shortcut="V",
        icon=":material/database_search:",
        type="tertiary",
        help=t("store.help"),
        on_click=remember,
        args=("in_store", not remembered("in_store")),
    )


def in_store(dialogue_id: int, shown: Sequence[Candidate]) -> Like:
    """Return the most similar question of the store by proposal, where that was asked for."""
    if not remembered("in_store") or not shown:
        return {}
    with database().read() as session:
        newest = session.scalar(select(func.max(Question.id))) or 0
    texts = tuple(one.text for one in shown)
    with st.spinner(t("store.comparing")):
        found = _compared(texts, dialogue_id, newest)
    if found.n_compared < found.n_in_store:
        st.caption(t("store.latest", n=f"{found.n_compared:,}", most=f"{found.n_in_store:,}"))
    elif not found.n_in_store:
        st.caption(t("store.none"))
    return dict(zip(texts, found.matches, strict=True)) if found.n_in_store else {}


@st.cache_data(show_spinner=False, max_entries=50)
def _compared(texts: tuple[str, ...], dialogue_id: int, newest: int) -> StoreComparison:
    """Compare; ``newest`` makes the result one of the store as it was then."""
    del newest
    with database().read() as session:
        return like_in_store(session, Guard(settings()), texts, dialogue_id)


def draw_like(like: Like, one: Candidate) -> None:
    """Draw below a proposal what the store holds that is like it."""
    if one.text not in like:
        return
    match = like[one.text]
    if match is None:
        st.caption(f":material/database: {t('store.new')}")
        return
    values = {
        "id": match.question_id,
        "n": round(100 * match.similarity),
        "text": escaped(match.text),
    }
    st.caption(
        f":material/database: {t('store.same' if match.is_repeat else 'store.like', **values)}"
    )
