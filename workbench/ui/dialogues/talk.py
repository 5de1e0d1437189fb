"""The conversation: the way from the first question as bubbles, then the turn at hand."""

from collections.abc import Mapping, Sequence

import streamlit as st

from db.texts.rows import TextRow, read_texts
from workbench.dialogue.cards import NodeView
from workbench.dialogue.outcomes import called_words
from workbench.dialogue.tree import Tree, TreeNode
from workbench.dialogue.turn import By
from workbench.ui.components import url
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_text
from workbench.ui.dialogues.acts import show_node
from workbench.ui.dialogues.edit import draw_edit
from workbench.ui.dialogues.marks import automatic_mark
from workbench.ui.dialogues.reading import draw_reading, read_here
from workbench.ui.dialogues.turn import draw_turn

NEAR = 4
"""Steps before the question at hand that are shown; those before fold."""


def draw_talk(tree: Tree, view: NodeView, by: By | None) -> None:
    """Draw the way to a question, and what there is to do at it."""
    path = tree.path(view.node.id)
    before = path[:-1]
    with database().read() as session:
        answers = read_texts(session, "answer", [n.answer_id for n in before if n.answer_id])
    read = read_here(tree, view, before[-NEAR:], by)
    if before[:-NEAR]:
        with st.expander(t("dlg.earlier", n=len(before[:-NEAR]))):
            _draw_steps(before[:-NEAR], answers, read)
    _draw_steps(before[-NEAR:], answers, read)
    _draw_question(path[-1], view, read)
    if by is None:
        return
    if url.parameter("edit"):
        draw_edit(tree, view, by)
    else:
        draw_turn(tree, view, by, read)


def _draw_steps(
    nodes: Sequence[TreeNode], answers: Mapping[int, TextRow], read: Mapping[str, str]
) -> None:
    for node in nodes:
        with st.chat_message("user", avatar=":material/help:"):
            _draw_marks(node, is_link=True)
            show_text(node.question)
            draw_reading(read, f"q{node.question_id}")
        answer = answers.get(node.answer_id or 0)
        if answer is not None:
            with st.chat_message("assistant", avatar=":material/forum:"):
                if node.answer_automatic:
                    automatic_mark()
                show_text(answer.text)
                draw_reading(read, answer.ref)


def _draw_marks(node: TreeNode, *, is_link: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption(t("dlg.number", n=node.position + 1), width="content")
        if node.move:
            st.badge(t(f"dlg.move.{node.move}"), color="blue")
        if node.parent_id is not None:
            st.badge(called_words(current_language())[node.called], color="gray")
        if node.held_out:
            st.badge(t("dlg.held_out"), icon=":material/lock:", color="violet")
        if node.automatic:
            automatic_mark()
        if node.state in ("parked", "rejected"):
            st.badge(t(f"tree.state.{node.state}"), color="orange")
        for tag in node.tags[:5]:
            st.badge(escaped(tag), icon=":material/sell:", color="gray")
        if is_link:
            st.space("stretch")
            st.button(
                t("dlg.look"),
                key=f"look_{node.id}",
                type="tertiary",
                on_click=show_node,
                args=(node.id,),
            )
    for why in (node.reason, node.aside_reason):
        if why:
            st.caption(t("dlg.because", reason=escaped(why)))


def _draw_question(node: TreeNode, view: NodeView, read: Mapping[str, str]) -> None:
    with st.container(border=True, key="card_dialogue_question", gap="xsmall"):
        _draw_marks(node, is_link=False)
        show_text(view.question.text)
        draw_reading(read, f"q{view.question.id}")
        if view.question.context:
            st.caption(t("dlg.facts"))
            show_text(view.question.context)
        for words in view.notes:
            st.caption(f":material/sticky_note_2: {escaped(words)}")
