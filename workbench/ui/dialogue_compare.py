"""Two dialogues side by side, in figures."""

import streamlit as st

from db.errors import Q2QError
from workbench.dialogue.compare import Figures, compare
from workbench.ui import url
from workbench.ui.i18n import t
from workbench.ui.parts import back_link, card, heading
from workbench.ui.sentences import said
from workbench.ui.store import database
from workbench.ui.text import escaped

COUNTS = (
    "questions", "answered", "parked", "rejected", "depth", "breadth", "distinct", "proposed",
    "repeats", "automatic", "with_reason",
)  # fmt: skip


def draw_compare(one: int, other: int) -> None:
    """Draw the figures of two sessions, each row with what differs."""
    back_link(t("dlg.back_to_session"), lambda: url.clear("with"))
    heading(t("more.beside"))
    try:
        with database().read() as session:
            pair = compare(session, one, other)
    except Q2QError as error:
        st.error(escaped(said(str(error))))
        return
    with card("compare", gap="xsmall"):
        _draw_row("", escaped(pair[0].name), escaped(pair[1].name), is_head=True)
        for name in COUNTS:
            _draw_row(t(f"cmp.{name}"), *(f"{getattr(side, name):,}" for side in pair))
        _draw_row(t("cmp.minutes"), *(f"{side.minutes:g}" for side in pair))
        _draw_row(t("cmp.rating"), *(_rating(side) for side in pair))
        for move in sorted({*pair[0].moves, *pair[1].moves}):
            _draw_row(t(f"dlg.move.{move}"), *(f"{side.moves.get(move, 0)}" for side in pair))


def _rating(side: Figures) -> str:
    return "–" if side.rating is None else f"{side.rating:.1f}"


def _draw_row(name: str, left: str, right: str, *, is_head: bool = False) -> None:
    columns = st.columns([2, 1, 1])
    columns[0].markdown(f":gray[{name}]" if name else "&nbsp;")
    for column, value in zip(columns[1:], (left, right), strict=True):
        column.markdown(f"**{value}**" if is_head or left != right else value)
