"""The state of a dialogue above its views: open or not, where it is, what ran by itself."""

import streamlit as st

from db.dialogues import read_events
from workbench.dialogue.decisions import set_node_state
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import change_state
from workbench.dialogue.tree import Tree, TreeNode
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import counted, t
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import Colour
from workbench.ui.components.store import database
from workbench.ui.components.text import told
from workbench.ui.dialogues.acts import act, button, decide, go_there

LOOKS: dict[str, tuple[Colour, str]] = {
    "open": ("green", ":material/forum:"),
    "paused": ("orange", ":material/pause_circle:"),
    "closed": ("gray", ":material/lock:"),
}


def state_mark(state: str) -> None:
    """Draw the state of a dialogue."""
    colour, icon = LOOKS[state]
    st.badge(t(f"dlg.state.{state}"), icon=icon, color=colour)


def automatic_mark() -> None:
    """Draw that nobody chose this: it happened within turns that ran by themselves."""
    st.badge(
        t("tree.automatic"),
        icon=":material/smart_toy:",
        color="orange",
        help=t("tree.automatic_help"),
    )


CHANGES = {"pause": "pause", "close": "lock", "resume": "play_arrow"}


def _reason_draft(here: TreeNode) -> FormDraft:
    return FormDraft(f"dialogue-{here.id}-back-reason")


def draw_state(tree: Tree, here: TreeNode | None, by: By | None) -> None:
    """Draw the state and what can be done about it; ``here`` is the question that is shown."""
    is_open = tree.dialogue.state == "open"
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        state_mark(tree.dialogue.state)
        st.caption(counted("questions", len(tree.nodes)), width="content")
        for move, n in sorted(tree.moves.items(), key=lambda pair: -pair[1]):
            st.badge(f"{t(f'dlg.move.{move}')} {n}", color="gray", help=t("dlg.balance_help"))
        st.space("stretch")
        for what in ("pause", "close") if is_open else ("resume",):
            change = (tree.dialogue.id, what, by)
            label, meaning = t(f"dlg.{what}"), t(f"dlg.{what}_help")
            button(label, None, CHANGES[what], _change, *change, help=meaning, disabled=by is None)
    if not is_open:
        st.info(t(f"dlg.is_{tree.dialogue.state}"), icon=":material/info:")
        return
    _draw_checkpoint(tree)
    if by and here and tree.current_id is not None and here.id != tree.current_id:
        _draw_elsewhere(tree, here, by)


def _change(dialogue_id: int, what: str, by: By) -> None:
    act(lambda session: change_state(session, dialogue_id, what, by))


def _draw_checkpoint(tree: Tree) -> None:
    """Draw how turns that ran by themselves ended, until the person does something."""
    with database().read() as session:
        events = read_events(session, tree.dialogue.id)
    if not events or events[-1].kind != "checkpoint":
        return
    payload = events[-1].payload
    is_whole = payload["turns"] == payload["asked"]
    words = t("dlg.checkpoint", n=payload["turns"], most=payload["asked"])
    why = "" if is_whole else " " + t("dlg.checkpoint_why", why=told(payload["why"]))
    (st.info if is_whole else st.warning)(
        f"{words}{why} {t('dlg.checkpoint_look')}", icon=":material/smart_toy:"
    )


def _draw_elsewhere(tree: Tree, here: TreeNode, by: By) -> None:
    assert tree.current_id is not None
    with st.container(border=True, key="dialogue_elsewhere", gap="xsmall"):
        n, at = here.position + 1, tree.node(tree.current_id).position + 1
        st.caption(t("dlg.elsewhere", n=n, at=at))
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.text_input(
                t("dlg.reason"),
                key=_reason_draft(here).field("text", ""),
                placeholder=t("dlg.reason_placeholder"),
                label_visibility="collapsed",
                max_chars=300,
                width=320,
            )
            label = t("dlg.go_on_here")
            button(label, Key.GO_ON, "my_location", _go_on, tree, here, by, look="secondary")
            for state, icon in (("parked", "bookmark"), ("rejected", "close")):
                if here.parent_id is not None and here.state not in (state, "answered"):
                    st.button(
                        t(f"dlg.set.{state}"),
                        key=f"set_{state}",
                        type="tertiary",
                        icon=f":material/{icon}:",
                        help=t(f"dlg.set.{state}_help"),
                        on_click=_set_state,
                        args=(tree, here, state, by),
                    )


def _go_on(tree: Tree, here: TreeNode, by: By) -> None:
    go_there(tree.dialogue.id, here.id, by, is_open=True, why=_reason_draft(here))


def _set_state(tree: Tree, here: TreeNode, state: str, by: By) -> None:
    at = (tree.dialogue.id, here.id, state)
    decide(_reason_draft(here), lambda session, why: set_node_state(session, *at, by, reason=why))
