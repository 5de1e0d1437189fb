"""The conversation as bubbles, then the turn at hand; a reasoning is edited in its place."""

from collections.abc import Mapping, Sequence

import streamlit as st

from db.texts.cards import VariantCard, variant_cards
from db.texts.rows import TextRow, read_texts
from workbench.dialogue.additions import edit_reasoning, write_hint
from workbench.dialogue.cards import NodeView
from workbench.dialogue.decisions import choose
from workbench.dialogue.events import By
from workbench.dialogue.outcomes import called_words
from workbench.dialogue.tree import Tree, TreeNode
from workbench.dialogue.turn import answer_from
from workbench.ui.components import url
from workbench.ui.components.controls import focus
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card, check_badges, empty_state
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_diff, show_text
from workbench.ui.dialogues.acts import act, button, draw_problem, remember, show_node
from workbench.ui.dialogues.reading import draw_reading, read_here
from workbench.ui.dialogues.state import automatic_mark
from workbench.ui.dialogues.turn import draw_turn
from workbench.ui.rating.edit import NOTHING


def draw_edit(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the reasoning as it was and as it becomes, each with its answers."""
    st.button(
        t("dlg.back_to_turn"),
        key="back_to_turn",
        type="tertiary",
        icon=":material/undo:",
        on_click=url.clear,
        args=("edit", "edited"),
    )
    wanted, edited = url.number("edit"), url.number("edited")
    with database().read() as session:
        named = [one for one in (wanted, edited) if one is not None]
        found = variant_cards(session, view.question.id, named)
        # A fact makes another question of the node: a reasoning from before it is one of its own.
        old = read_texts(session, "variant", [wanted] if wanted else [])
    before = old.get(wanted) if wanted else None
    if wanted and before is None:
        empty_state("edit", "edit_off", "dlg.edit_gone")
        return
    st.markdown(f"**{t('dlg.edit_title') if before else t('dlg.hint_title')}**")
    left, right = st.columns(2, gap="medium") if before else (None, st.container())
    if before and left:
        with left, card("before"):
            st.caption(t("rate.before"))
            show_text(before.text)
            _draw_answers(found.get(before.id))
    with right:
        if edited in found and edited is not None:
            _draw_after(tree, view, by, before, found[edited])
        else:
            _draw_form(tree, view, by, before)


def _draw_form(tree: Tree, view: NodeView, by: By, before: TextRow | None) -> None:
    draft = FormDraft(f"dialogue-{view.node.id}-edit-{before.id if before else 0}")
    field = draft.field("text", before.text if before else "")
    draft.draw_notice()
    with card("after"), st.form("dialogue_edit", border=False):
        text = st.text_area(
            t("rate.after"),
            height=220,
            key=field,
            placeholder=t("rate.write_placeholder"),
        )
        pressed = st.form_submit_button(
            t("dlg.answer_from"), type="primary", icon=":material/send:", width="stretch"
        )
    focus(field)
    if not pressed:
        return
    at, words = (tree.dialogue.id, view.node.id), text or ""
    if before:
        new_id = act(lambda session: edit_reasoning(session, *at, before.id, words, by))
    else:
        new_id = act(lambda session: write_hint(session, *at, words, by))
    if new_id is None:
        draw_problem()
        return
    draft.forget()
    url.put("edit", url.parameter("edit") or NOTHING)
    url.put("edited", str(new_id))
    act(lambda session: answer_from(session, registry(), *at, new_id, by))
    st.rerun()


def _draw_after(
    tree: Tree, view: NodeView, by: By, before: TextRow | None, after: VariantCard
) -> None:
    with card("after"):
        st.caption(t("rate.after"))
        if before:
            show_diff(before.text, after.variant.text)
        else:
            show_text(after.variant.text)
        check_badges([(name, None) for name in after.variant.flags])
        _draw_answers(after)
        if view.is_under_way("answer"):
            st.caption(f":material/hourglass_top: {t('rate.answers_coming')}")
        laid_out = {one.answer.id for one in (*view.shown, *view.folded)}
        ready = [one for one in after.answers if one.id in laid_out]
        if ready and tree.dialogue.state == "open":
            chosen = (tree.dialogue.id, view.node.id, ready[-1].id, by)
            button(t("dlg.take_answer"), Key.TAKE, "check", _take, *chosen, look="primary")


def _take(dialogue_id: int, node_id: int, answer_id: int, by: By) -> None:
    act(lambda session: choose(session, dialogue_id, node_id, answer_id, by))
    remember("asking", None)
    url.clear("edit", "edited")


def _draw_answers(variant: VariantCard | None) -> None:
    for number, one in enumerate(variant.answers if variant else (), start=1):
        with st.container(key=f"answer_{one.id}", gap="xsmall"):
            st.caption(t("results.answer", i=number))
            show_text(one.text)


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
