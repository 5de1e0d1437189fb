"""The field for a question of the person's own, or for their words for a proposed one."""

import streamlit as st

from workbench.dialogue.cards import Candidate, NodeView
from workbench.dialogue.decisions import pick, write
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By
from workbench.ui.components.controls import focus
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.dialogues.acts import cancel_button, decide, reason_draft, remembered, show_node


def draw_own(tree: Tree, view: NodeView, by: By, one: Candidate | None) -> None:
    """Draw the field that was asked for; where nothing is left to select, one's own question."""
    panel = remembered("panel")
    if one is None and panel is None:
        panel = "write"
    if panel not in ("edit", "write"):
        return
    edited = one if panel == "edit" else None
    # A field for each proposal: a widget of one key would keep the words of the one before.
    own = f"take-{edited.event_id}-{edited.place}" if edited else "own"
    draft = FormDraft(f"dialogue-{view.node.id}-{own}")
    key = draft.field("text", edited.text if edited else "")
    with card("own_question"), st.form("own_question", border=False):
        text = st.text_area(
            t("dlg.edit_question") if edited else t("dlg.own_question"),
            key=key,
            height=90,
        )
        pressed = st.form_submit_button(t("dlg.take"), type="primary", icon=":material/send:")
    if remembered("panel"):
        cancel_button()
        focus(key)
    if pressed:
        _take(tree, view, by, edited, text or "", draft)


def _take(
    tree: Tree, view: NodeView, by: By, edited: Candidate | None, text: str, draft: FormDraft
) -> None:
    why, at = reason_draft(view.node.id), (tree.dialogue.id, view.node.id)
    if edited:
        ids = (edited.event_id, edited.place)
        child = decide(
            why, lambda session, said: pick(session, *at, *ids, by, text=text, reason=said)
        )
    else:
        child = decide(why, lambda session, said: write(session, *at, text, by, reason=said))
    if child:
        draft.forget()
        show_node(child)
    st.rerun()
