"""A fork: a dialogue of its own from the question at hand on, with the way that led there."""

import streamlit as st

from workbench.dialogue.sessions import fork
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By
from workbench.ui.components import url
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.text import show_text
from workbench.ui.dialogues.acts import OWN, act, cancel_button, draw_problem, remember


def fork_draft(node_id: int) -> FormDraft:
    """Return the draft of the form of a fork at a question."""
    return FormDraft(f"dialogue-{node_id}-fork")


def draw_fork(tree: Tree, node_id: int, by: By, *, is_panel: bool = True) -> None:
    """Draw the form of a fork; a panel beside a turn can be closed again."""
    node = tree.node(node_id)
    draft = fork_draft(node_id)
    with card("fork"), st.form("fork", border=False):
        st.markdown(f"**{t('more.fork', n=node.position + 1)}**")
        show_text(node.question)
        name = st.text_input(t("more.fork_name"), max_chars=100, key=draft.field("name", ""))
        why = st.text_input(
            t("dlg.reason"), key=draft.field("reason", ""), placeholder=t("dlg.reason_placeholder")
        )
        pressed = st.form_submit_button(
            t("more.fork_go"), icon=":material/fork_right:", type="primary", key="fork_go"
        )
    if is_panel:
        cancel_button()
    if not pressed:
        return
    called, said_why = (name or "").strip() or None, (why or "").strip() or None
    new_id = act(
        lambda session: fork(session, tree.dialogue.id, node_id, by, name=called, reason=said_why)
    )
    if new_id is None:
        draw_problem()
        return
    draft.forget()
    url.put("session", str(new_id))
    url.clear("node", "view")
    for name_of_own in OWN:
        remember(name_of_own, None)
    st.rerun()
