"""The tree of a dialogue as a mind map; a click leads to a question, branches fold."""

import streamlit as st

from workbench.dialogue.events import By
from workbench.dialogue.tree import Tree, TreeNode
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import empty_state
from workbench.ui.dialogues.acts import go_there
from workbench.ui.dialogues.compare import draw_curve
from workbench.ui.dialogues.map import Leaf, Link, draw_map, folded_at_first, lay_out, way_to

DONE = ("open", "answered")


def draw_tree(tree: Tree, node_id: int, by: By | None) -> None:
    """Draw the map of a dialogue, with what its colours say."""
    links = [Link(id=node.id, parent_id=node.parent_id) for node in tree.nodes]
    folded = _folded(tree.dialogue.id, links, node_id)
    spots = lay_out(links, folded)
    states = {node.id: node.state for node in tree.nodes}

    def to(chosen: int) -> None:
        # A parked or rejected question is only looked at: going on from it is a choice of its own.
        moves = by is not None and tree.dialogue.state == "open" and states.get(chosen) in DONE
        if chosen in states:
            go_there(tree.dialogue.id, chosen, by or By(), is_open=moves)

    def fold(chosen: int) -> None:
        folded.symmetric_difference_update({chosen} & states.keys())

    with st.container(horizontal=True, gap="xsmall"):
        for state in ("open", "answered", "parked", "rejected"):
            colour = {"open": "blue", "answered": "green", "parked": "orange"}.get(state, "red")
            st.badge(t(f"tree.state.{state}"), color=colour)  # type: ignore[arg-type]  # as named
        st.caption(t("tree.help"), width="content")
    draw_map(
        f"dialogue_map_{tree.dialogue.id}",
        spots,
        {node.id: _leaf(node) for node in tree.nodes},
        node_id,
        way_to(links, node_id),
        to,
        fold,
    )
    if len(tree.nodes) == 1:
        empty_state("tree", "account_tree", "tree.one")
    draw_curve(tree, node_id)


def _folded(dialogue_id: int, links: list[Link], node_id: int) -> set[int]:
    key = f"dialogue_folded_{dialogue_id}"
    if key not in st.session_state:
        st.session_state[key] = folded_at_first(links, node_id)
    folded: set[int] = st.session_state[key]
    return folded


def _leaf(node: TreeNode) -> Leaf:
    return Leaf(
        text=f"{node.position + 1}. {node.question}",
        state=node.state,
        move=t(f"dlg.move.{node.move}") if node.move else "",
        rating=f"★ {node.rating:.1f}" if node.rating is not None else "",
        is_automatic=node.automatic,
    )
