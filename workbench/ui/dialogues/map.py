"""The mind map of a session: boxes that are clicked, lines between them; texts are plain text.

The component's script sets words with ``textContent`` only, so that nothing in a text can act on
the page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from workbench.dialogue.tree_layout import Spot
from workbench.ui.components.i18n import t
from workbench.ui.components.text import one_line

HERE = Path(__file__).parent
MOST_CHARACTERS = 110


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
        def tell() -> None:
            value = st.session_state[key].get(name)
            if isinstance(value, int):
                act(value)

        return tell

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
        "text": one_line(leaf.text, MOST_CHARACTERS),
        "state": leaf.state,
        "stateName": t(f"tree.state.{leaf.state}"),
        "marks": " · ".join(mark for mark in marks if mark),
        "way": is_on_way,
    }
