"""The eight moves, each on its digit, and the button that asks for questions by those chosen."""

from typing import cast

import streamlit as st

from db.tables import MOVES
from workbench.dialogue.cards import NodeView
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By, ask
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.store import registry
from workbench.ui.dialogues.acts import act, remember


def draw_moves(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the moves, and the button that asks; what is chosen stays for the visit."""
    settings = parse_settings(tree.dialogue.settings)
    key = moves_key(tree.dialogue.id)
    chosen = cast(tuple[str, ...], st.session_state.get(key) or settings.moves)
    with card("moves"):
        st.markdown(f"**{t('dlg.which_moves')}**")
        with st.container(horizontal=True, gap="xsmall", key="dialogue_moves_row"):
            for number, move in enumerate(MOVES, start=1):
                st.button(
                    t(f"dlg.move.{move}"),
                    key=f"move_{move}",
                    shortcut=f"{number}",
                    type="primary" if move in chosen else "secondary",
                    help=t(f"dlg.move_help.{move}"),
                    on_click=_toggle_move,
                    args=(key, move, chosen),
                )
        st.button(
            t("dlg.ask"),
            type="primary",
            shortcut="A",
            icon=":material/quiz:",
            disabled=any(one.kind == "ask" for one in view.under_way),
            on_click=_ask,
            args=(tree.dialogue.id, view.node.id, chosen, by),
        )


def moves_key(dialogue_id: int) -> str:
    """Return where this visit remembers which moves were chosen in a dialogue."""
    return f"dialogue_moves_{dialogue_id}"


def _toggle_move(key: str, move: str, chosen: tuple[str, ...]) -> None:
    left = tuple(one for one in chosen if one != move) if move in chosen else (*chosen, move)
    st.session_state[key] = left or chosen


def _ask(dialogue_id: int, node_id: int, moves: tuple[str, ...], by: By) -> None:
    act(lambda session: ask(session, registry(), dialogue_id, node_id, by, moves=moves))
    remember("asking", None)
