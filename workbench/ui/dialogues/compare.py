"""Two dialogues side by side, the curve of distinct questions, what the store has asked."""

from collections.abc import Mapping, Sequence

import altair as alt
import streamlit as st
from sqlalchemy import func, select

from db.dialogues import list_dialogues, read_events
from db.errors import Q2QError
from db.settings import settings
from db.tables import Question
from workbench.dialogue.cards import Candidate, NodeView
from workbench.dialogue.compare import Figures, figures
from workbench.dialogue.embedding import (
    Guard,
    StoreComparison,
    StoreMatch,
    asked_in_both,
    like_in_store,
)
from workbench.dialogue.novelty import Exhaustion
from workbench.dialogue.tree import Tree, read_tree
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, trail
from workbench.ui.components.i18n import t
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card, heading
from workbench.ui.components.plots import COUNTS as WHOLE
from workbench.ui.components.plots import draw_plot, plot_of
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_text, told
from workbench.ui.dialogues.acts import button, remember, remembered

MAX_SHOWN = 150
"""Proposals that are compared, the latest ones: the time to compare grows as their square."""


@st.cache_data(show_spinner=False, max_entries=50)
def _found(questions: tuple[str, ...]) -> Exhaustion:
    return Guard(settings()).exhaustion(questions)


def draw_curve(tree: Tree, node_id: int) -> None:
    """Draw the distinct questions among those proposed along the way to a question."""
    path = {node.id for node in tree.path(node_id)}
    with database().read() as session:
        events = read_events(session, tree.dialogue.id, kinds=("questions_shown",))
    proposed = [one["text"] for e in events if e.node_id in path for one in e.payload["candidates"]]
    texts = tuple(proposed[-MAX_SHOWN:])
    if len(texts) < 2:
        return
    found = _found(texts)
    knows = Guard(settings()).catches_paraphrases
    with st.expander(t("dlg.curve", n=found.n_distinct, most=found.n_proposals)):
        rows = [{"n": n, "distinct": d} for n, d in enumerate(found.curve, start=1)]
        chart = (
            plot_of(rows)
            .mark_line(interpolate="step-after")
            .encode(
                x=alt.X("n:Q", title=t("dlg.curve_x"), axis=WHOLE),
                y=alt.Y("distinct:Q", title=t("dlg.curve_y"), axis=WHOLE),
            )
        )
        draw_plot(chart, 180)
        if len(proposed) > MAX_SHOWN:
            st.caption(t("dlg.curve_latest", n=MAX_SHOWN, most=len(proposed)))
        if not knows:
            st.caption(t("dlg.curve_wording"))
        elif found.is_exhausted:
            st.warning(t("dlg.exhausted"), icon=":material/hourglass_empty:")


COUNTS = (
    "questions", "answered", "parked", "rejected", "depth", "breadth", "distinct", "proposed",
    "repeats", "automatic", "with_reason",
)  # fmt: skip
MAX_SHARED = 50


def draw_compare(one: int, other: int) -> None:
    """Draw the figures of two dialogues, each row with what differs, and what both have asked."""
    row = back_link(t("dlg.back_to_session"), lambda: url.clear("with"))
    heading(t("more.beside"), t("cmp.lead"))
    try:
        with database().read() as session:
            pair = figures(session, one), figures(session, other)
            trees = read_tree(session, one), read_tree(session, other)
    except Q2QError as error:
        st.error(told(error))
        return
    trail(row, pair[0].name, t("more.beside"))
    _draw_choice()
    with card("compare", gap="xsmall"):
        st.table(_rows(*pair), border="horizontal", hide_index=True)
    if one != other:
        _draw_shared(*trees)


def _draw_choice() -> None:
    with database().read() as session:
        names = {str(found.id): f"{found.id} · {found.name}" for found in list_dialogues(session)}
    left, right = st.columns(2)
    for column, name in ((left, "session"), (right, "with")):
        with column:
            url.choose(name, t(f"cmp.{name}"), list(names), names.__getitem__, any_label="")


def _draw_shared(one: Tree, other: Tree) -> None:
    shared = asked_in_both(Guard(settings()), one, other)
    with card("shared", gap="xsmall"):
        st.markdown(f"**{t('cmp.shared', n=len(shared))}**")
        st.caption(t("cmp.shared_help"))
        for found in shared[:MAX_SHARED]:
            left, right = st.columns(2)
            for column, node in ((left, found.one), (right, found.other)):
                with column:
                    st.caption(t("dlg.number", n=node.position + 1))
                    show_text(node.question)
        if len(shared) > MAX_SHARED:
            st.caption(t("cmp.shared_more", n=len(shared) - MAX_SHARED))


def _rating(side: Figures) -> str:
    return "–" if side.rating is None else f"{side.rating:.1f}"


def _rows(one: Figures, other: Figures) -> list[dict[str, str]]:
    """Return the figures of both by name; what differs is bold."""
    values = [(t(f"cmp.{n}"), *(f"{getattr(side, n):,}" for side in (one, other))) for n in COUNTS]
    values.append((t("cmp.minutes"), f"{one.minutes:g}", f"{other.minutes:g}"))
    values.append((t("cmp.rating"), _rating(one), _rating(other)))
    for move in sorted({*one.moves, *other.moves}):
        both = (f"{side.moves.get(move, 0)}" for side in (one, other))
        values.append((t(f"dlg.move.{move}"), *both))
    heads = [f"{side.dialogue_id} · {escaped(side.name)}" for side in (one, other)]
    if one.dialogue_id == other.dialogue_id:
        heads[1] += " "  # a table takes one column of each name
    return [
        {
            t("cmp.figure"): name,
            heads[0]: left if left == right else f"**{left}**",
            heads[1]: right if left == right else f"**{right}**",
        }
        for name, left, right in values
    ]


Like = Mapping[str, StoreMatch | None]


def store_button(view: NodeView) -> None:
    """Draw the button that compares what is proposed with all questions of the store."""
    if not any(one.is_shown for one in view.candidates):
        return
    is_on = bool(remembered("in_store"))
    label, what = t("store.hide" if is_on else "store.compare"), ("in_store", not is_on)
    button(label, Key.SAME_IN_STORE, "database_search", remember, *what, help=t("store.help"))


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
