"""Lineage on the page of an item: what it came from, and what came of it; each leads on."""

from collections.abc import Sequence

import streamlit as st

from db.lineage.nodes import LineageGroup, LineageNode
from db.lineage.read import Lineage
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.text import escaped, one_line
from workbench.ui.explore.cells import open_item

WORDS = 70
DRAWN_ELSEWHERE = {
    "question": {"variants", "answers", "ratings", "comparisons"},
    "variant": {"ratings", "comparisons"},
    "answer": {"ratings", "comparisons"},
}
"""Relations that the page of such an item shows in a part of its own."""
DETAILS = ("source", "mode", "state", "explore.detail", "explore.model_kind", "move")
"""Where the catalogue may know the word of a detail."""


def draw_lineage(found: Lineage) -> None:
    """Draw both directions side by side."""
    section(t("explore.lineage"), t("explore.lineage_help"))
    left = DRAWN_ELSEWHERE.get(found.ref.kind, set())
    up, down = st.columns(2)
    with up:
        _draw_side("up", found.up)
    with down:
        _draw_side("down", [group for group in found.down if group.relation not in left])


def _draw_side(side: str, groups: Sequence[LineageGroup]) -> None:
    with card(f"lineage_{side}", gap="xsmall"):
        st.markdown(f"**{t(f'explore.lineage.{side}')}**")
        if not groups:
            st.caption(t(f"explore.lineage.{side}_none"))
        for group in groups:
            name = word("explore.relation", group.relation)
            st.caption(f"{name} ({group.total:,})" if group.total > 1 else name)
            for node in group.nodes:
                _draw_node(f"{side}_{group.relation}", node)
            if group.total > len(group.nodes):
                st.caption(t("explore.more", n=group.total - len(group.nodes)))


def _draw_node(key: str, node: LineageNode) -> None:
    words = one_line(node.label, WORDS) or t("text.empty")
    if node.ref is not None:
        st.button(
            f"**{node.ref}** {escaped(words)}{_detail(node)}",
            key=f"{key}_{node.ref}",
            type="tertiary",
            wrap=True,
            on_click=open_item,
            args=(node.ref,),
        )
    elif node.kind == "sweep":
        st.page_link(
            "ui/sweeps/page.py",
            label=escaped(words),
            icon=":material/grid_view:",
            query_params={"sweep": str(node.id)},
        )
    else:
        st.caption(escaped(words))


def _detail(node: LineageNode) -> str:
    steps = f" · {counted('steps', node.steps)}" if node.steps > 1 else ""
    if node.detail is None:
        return steps
    return f" :gray[· {escaped(_said(node.detail))}]{steps}"


def _said(detail: str) -> str:
    """Return a code of the store in the language of the visit."""
    for prefix in DETAILS:
        said = word(prefix, detail)
        if said != detail:
            return said
    return detail
