"""What a person adds to a question: a hint, a fact with its source, a tag, a note; or a fork."""

import re

import streamlit as st

from workbench.dialogue.additions import add_fact, note, tag
from workbench.dialogue.cards import NodeView
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import fork
from workbench.dialogue.tree import Tree
from workbench.ui.components import url
from workbench.ui.components.controls import focus
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card
from workbench.ui.components.text import show_text
from workbench.ui.dialogues.acts import (
    OWN,
    act,
    button,
    cancel_button,
    draw_problem,
    remember,
    remembered,
)
from workbench.ui.dialogues.reading import reading_button
from workbench.ui.rating.edit import NOTHING


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


PANELS = {
    "fact": (Key.FACT, "fact_check"),
    "tag": (Key.TAGS, "sell"),
    "note": (Key.NOTE, "sticky_note_2"),
}
COMMAS = re.compile("[,，、]")


def draw_notes(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the keys of what can be added, and the field of the one that was pressed."""
    with st.container(horizontal=True, gap="xsmall", key="dialogue_notes"):
        edit, hint = ("edit", NOTHING), t("dlg.hint_help")
        button(t("dlg.hint"), Key.HINT, "lightbulb", url.put, *edit, opens="hint", help=hint)
        for name, (key, icon) in PANELS.items():
            button(
                t(f"dlg.{name}"),
                key,
                icon,
                remember,
                *("panel", name),
                opens=name,
                help=t(f"dlg.{name}_help"),
            )
        reading_button(tree)
        button(
            t("more.fork_go"),
            Key.FORK,
            "fork_right",
            remember,
            *("panel", "fork"),
            opens="fork",
            help=t("dlg.fork_help"),
        )
    panel = remembered("panel")
    if panel in PANELS:
        _draw_panel(str(panel), tree, view, by)
    elif panel == "fork":
        draw_fork(tree, view.node.id, by)
        focus(fork_draft(view.node.id).key("name"))


def _draw_panel(name: str, tree: Tree, view: NodeView, by: By) -> None:
    draft = FormDraft(f"dialogue-{view.node.id}-{name}")
    field = draft.field("text", "")
    with card("added"), st.form(f"dialogue_{name}", border=False):
        if name == "tag":
            text = st.text_input(t("dlg.tag_text"), key=field)
        else:
            text = st.text_area(t(f"dlg.{name}_text"), key=field, height=90)
        source = ""
        if name == "fact":
            source = st.text_input(t("dlg.fact_source"), key=draft.field("source", "")) or ""
        pressed = st.form_submit_button(t("dlg.add"), type="primary", icon=":material/add:")
    cancel_button()
    focus(field)
    if not pressed:
        return
    at, words = (tree.dialogue.id, view.node.id), text or ""
    if name == "fact":
        done = act(lambda session: add_fact(session, *at, words, source, by))
    elif name == "tag":
        done = act(lambda session: tag(session, *at, COMMAS.split(words), by))
    else:
        done = act(lambda session: note(session, *at, words, by))
    if done is not None:
        draft.forget()
        remember("panel", None)
    st.rerun()
