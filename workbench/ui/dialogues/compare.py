"""Two dialogues side by side: figures, what both have asked, and which two to compare."""

import streamlit as st

from db.dialogues import list_dialogues
from db.errors import Q2QError
from db.settings import settings
from workbench.dialogue.compare import Figures, compare
from workbench.dialogue.embedding import Guard
from workbench.dialogue.in_both import asked_in_both
from workbench.dialogue.tree import Tree, read_tree
from workbench.ui.components import url
from workbench.ui.components.controls import back_link
from workbench.ui.components.i18n import t, translated
from workbench.ui.components.parts import card, heading
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_text

COUNTS = (
    "questions", "answered", "parked", "rejected", "depth", "breadth", "distinct", "proposed",
    "repeats", "automatic", "with_reason",
)  # fmt: skip
MOST_SHARED = 50


def draw_compare(one: int, other: int) -> None:
    """Draw the figures of two sessions, each row with what differs, and what both have asked."""
    back_link(t("dlg.back_to_session"), lambda: url.clear("with"))
    heading(t("more.beside"), t("cmp.lead"))
    try:
        with database().read() as session:
            pair = compare(session, one, other)
            trees = read_tree(session, one), read_tree(session, other)
    except Q2QError as error:
        st.error(escaped(translated(error)))
        return
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
        for found in shared[:MOST_SHARED]:
            left, right = st.columns(2)
            for column, node in ((left, found.one), (right, found.other)):
                with column:
                    st.caption(t("dlg.number", n=node.position + 1))
                    show_text(node.question)
        if len(shared) > MOST_SHARED:
            st.caption(t("cmp.shared_more", n=len(shared) - MOST_SHARED))


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
