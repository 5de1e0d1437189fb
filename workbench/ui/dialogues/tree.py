"""The mind map of a dialogue: where its questions lie, and the boxes that are clicked.

Columns by depth, rows without collision; branches away from the question at hand are folded where
the tree is large. The component's script sets words with ``textContent`` only, so that nothing in
a text can act on the page.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import streamlit as st

from workbench.dialogue.events import By
from workbench.dialogue.tree import Tree, TreeNode
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import empty_state
from workbench.ui.components.text import one_line
from workbench.ui.dialogues.acts import go_there
from workbench.ui.dialogues.compare import draw_curve

FOLD_ABOVE: Final = 60
"""Questions that are shown at once before branches fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A question as the layout sees it."""

    id: int
    parent_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a question lies."""

    id: int
    parent_id: int | None
    depth: int
    """Its column, from 0."""
    row: float
    """Its height on the map; a parent lies in the middle of its children."""
    line: int
    """Its place in an outline, from 0."""
    n_hidden: int
    """Questions folded away below it."""
    n_children: int


def lay_out(links: Sequence[Link], folded: Collection[int] = ()) -> list[Spot]:
    """Return the spots of all questions that no folded one hides, in the order of an outline.

    Args:
        links: Parents before their children; a parent that is missing makes a root.
        folded: Ids of questions whose branches are hidden.
    """
    children = _children(links)
    below = _counts(links, children)
    order = _outline(children, set(folded))
    rows = _rows(order, children, set(folded))
    return [
        Spot(
            id=link.id,
            parent_id=link.parent_id if depth else None,
            depth=depth,
            row=rows[link.id],
            line=line,
            n_hidden=below[link.id] if link.id in folded else 0,
            n_children=len(children[link.id]),
        )
        for line, (link, depth) in enumerate(order)
    ]


def folded_at_first(links: Sequence[Link], current_id: int | None) -> set[int]:
    """Return what to fold so that the way to the question at hand and its surroundings stay open.

    Nothing folds in a small tree. In a large one, questions off the way fold; so do the children
    of the question at hand.
    """
    if len(links) <= FOLD_ABOVE:
        return set()
    on_way = set(way_to(links, current_id))
    children = _children(links)
    return {link.id for link in links if link.id not in on_way and children[link.id]}


def way_to(links: Sequence[Link], node_id: int | None) -> list[int]:
    """Return the ids from the root to a question, itself included; nothing for None."""
    parents = {link.id: link.parent_id for link in links}
    way = []
    while node_id is not None and node_id in parents:
        way.append(node_id)
        node_id = parents[node_id]
    return way[::-1]


def _children(links: Sequence[Link]) -> Mapping[int | None, list[Link]]:
    known = {link.id for link in links}
    children: defaultdict[int | None, list[Link]] = defaultdict(list)
    for link in links:
        children[link.parent_id if link.parent_id in known else None].append(link)
    return children


def _counts(links: Sequence[Link], children: Mapping[int | None, list[Link]]) -> dict[int, int]:
    """Return how many questions lie below each."""
    below: dict[int, int] = {}
    for link in reversed(links):
        below[link.id] = sum(1 + below.get(child.id, 0) for child in children[link.id])
    return below


def _outline(
    children: Mapping[int | None, list[Link]], folded: Collection[int]
) -> list[tuple[Link, int]]:
    waiting = [(link, 0) for link in reversed(children[None])]
    order = []
    while waiting:
        link, depth = waiting.pop()
        order.append((link, depth))
        if link.id not in folded:
            waiting.extend((child, depth + 1) for child in reversed(children[link.id]))
    return order


def _rows(
    order: Sequence[tuple[Link, int]],
    children: Mapping[int | None, list[Link]],
    folded: Collection[int],
) -> dict[int, float]:
    leaves = [link.id for link, _ in order if link.id in folded or not children[link.id]]
    rows: dict[int, float] = {leaf: float(row) for row, leaf in enumerate(leaves)}
    for link, _ in reversed(order):
        if link.id not in rows:
            below = [rows[child.id] for child in children[link.id]]
            rows[link.id] = (below[0] + below[-1]) / 2
    return rows


HERE = Path(__file__).parent
MAX_CHARACTERS = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What is written on one box of the map."""

    text: str
    state: str
    """``open``, ``answered``, ``parked`` or ``rejected``."""
    move: str
    """The word for the move that led to it; empty for the first question."""
    rating: str
    """How it is rated; empty where it is not."""
    is_automatic: bool


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component(
        "dialogue_map",
        html='<div class="map" role="tree" tabindex="-1"></div>',
        css=(HERE / "map.css").read_text("utf-8"),
        js=(HERE / "map.js").read_text("utf-8"),
    )


def draw_map(
    key: str,
    spots: Sequence[Spot],
    leaves: dict[int, Leaf],
    current_id: int | None,
    way: Sequence[int],
    on_pick: Callable[[int], None],
    on_fold: Callable[[int], None],
) -> None:
    """Draw the map; what is clicked is told as the id of its question.

    Args:
        key: Of the component.
        spots: Where the questions lie.
        leaves: What is written on each, by id.
        current_id: The question at hand.
        way: Ids from the root to it.
        on_pick: Takes the id of a question that was clicked.
        on_fold: Takes the id of a question whose branch is to fold or unfold.
    """
    on_way = set(way)
    data = {
        "label": t("tree.label"),
        "unfold": t("tree.unfold"),
        "fold": t("tree.fold"),
        "current": current_id,
        "boxes": [_box(spot, leaves[spot.id], spot.id in on_way) for spot in spots],
    }

    def told(name: str, act: Callable[[int], None]) -> Callable[[], None]:
        def notify() -> None:
            value = st.session_state[key].get(name)
            if isinstance(value, int):
                act(value)

        return notify

    _component()(
        key=key,
        data=data,
        height="content",
        on_pick_change=told("pick", on_pick),
        on_fold_change=told("fold", on_fold),
    )


def _box(spot: Spot, leaf: Leaf, is_on_way: bool) -> dict[str, Any]:
    marks = [leaf.move, leaf.rating, t("tree.automatic") if leaf.is_automatic else ""]
    return {
        "id": spot.id,
        "parent": spot.parent_id,
        "depth": spot.depth,
        "row": spot.row,
        "line": spot.line,
        "hidden": spot.n_hidden,
        "children": spot.n_children,
        "text": one_line(leaf.text, MAX_CHARACTERS),
        "state": leaf.state,
        "stateName": t(f"tree.state.{leaf.state}"),
        "marks": " · ".join(mark for mark in marks if mark),
        "way": is_on_way,
    }


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
