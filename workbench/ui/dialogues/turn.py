"""The turn at hand by key: answers to choose from, questions to choose from, both sides argued."""

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from workbench.dialogue.cards import AnswerCard, NodeView
from workbench.dialogue.decisions import choose
from workbench.dialogue.events import By
from workbench.dialogue.sides import argue, judge, verdicts
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import answer
from workbench.ui.components import url
from workbench.ui.components.controls import opens_field
from workbench.ui.components.i18n import t
from workbench.ui.components.keys import Key, digit
from workbench.ui.components.parts import card
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_text, told
from workbench.ui.dialogues.acts import (
    button,
    decide,
    draw_reason,
    later,
    reason_draft,
    remember,
    remembered,
)
from workbench.ui.dialogues.candidates import draw_candidates, draw_proposed
from workbench.ui.dialogues.notes import draw_notes
from workbench.ui.dialogues.reading import draw_reading
from workbench.ui.dialogues.settings import draw_moves
from workbench.ui.dialogues.state import automatic_mark

EDIT_KEYS = (Key.EDIT, Key.EDIT_SECOND, Key.EDIT_THIRD)
"""They edit the reasonings of the first cards."""


def draw_turn(tree: Tree, view: NodeView, by: By, read: Mapping[str, str]) -> None:
    """Draw what comes next at a question; nothing can be pressed where the dialogue is not open."""
    for problem in view.problems:
        st.warning(told(problem), icon=":material/info:")
    if tree.dialogue.state != "open":
        _draw_at_rest(tree, view, by, read)
        return
    step = replace(view, under_way=()).step
    choosing = step == "choose" or remembered("asking") == "answers"
    if step == "answer":
        _draw_answer_buttons(tree, view, by)
    elif choosing:
        _draw_cards(tree, view, by, read, is_open=True)
    else:
        assert view.chosen
        _draw_chosen(view, view.chosen, read)
        if step == "ask" or remembered("asking") == "moves":
            draw_moves(tree, view, by)
        if step == "pick" and remembered("asking") != "moves":
            draw_candidates(tree, view, by, read)
    draw_notes(tree, view, by)


def _draw_at_rest(tree: Tree, view: NodeView, by: By, read: Mapping[str, str]) -> None:
    """Draw what there is in a dialogue that is paused or closed, to be read only."""
    if view.chosen:
        _draw_chosen(view, view.chosen, read, is_open=False)
        draw_proposed(view, read)
    else:
        _draw_cards(tree, view, by, read, is_open=False)


def _draw_answer_buttons(tree: Tree, view: NodeView, by: By) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        at, is_coming = (tree.dialogue.id, view.node.id), view.is_under_way("answer")
        start = later(lambda session: answer(session, registry(), *at, by))
        label = t("dlg.answer")
        button(label, Key.ADD, "auto_awesome", start, look="primary", disabled=is_coming)
        argue_button(tree, view, by)
    st.caption(t("dlg.answer_help"))


def _draw_cards(
    tree: Tree, view: NodeView, by: By, read: Mapping[str, str], *, is_open: bool
) -> None:
    if view.shown:
        if is_open:
            st.markdown(f"**{t('dlg.which_answer')}**")
            draw_reason(view.node.id)
        columns = st.columns(min(3, len(view.shown)), gap="small")
        for number, one in enumerate(view.shown):
            with columns[number % len(columns)], card(f"choice_{number}", gap="xsmall"):
                _draw_card(tree, view, by, number, one, read, is_open=is_open)
    if view.folded:
        with st.expander(t("dlg.folded_answers", n=len(view.folded))):
            for number, one in enumerate(view.folded, start=len(view.shown)):
                with card(f"choice_{number}", gap="xsmall"):
                    _draw_card(tree, view, by, number, one, read, is_open=is_open)
    draw_verdicts(tree, view)
    if is_open:
        _draw_card_bar(tree, view, by)


def _draw_card(
    tree: Tree,
    view: NodeView,
    by: By,
    number: int,
    one: AnswerCard,
    read: Mapping[str, str],
    *,
    is_open: bool,
) -> None:
    has_key = is_open and number < len(view.shown)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.button(
            t("dlg.choose"),
            key=f"choose_{one.answer.id}",
            shortcut=digit(number + 1) if has_key else None,
            type="primary" if one.is_chosen else "secondary",
            disabled=not is_open,
            on_click=_choose,
            args=(tree.dialogue.id, view.node.id, one.answer.id, by),
        )
        if one.reasoning and is_open:
            edit_key = EDIT_KEYS[number] if has_key and number < len(EDIT_KEYS) else None
            name = f"edit_{one.answer.id}"
            st.button(
                t("dlg.edit"),
                key=opens_field(edit_key, name) if edit_key else name,
                shortcut=edit_key,
                type="tertiary",
                icon=":material/edit:",
                on_click=url.put,
                args=("edit", str(one.reasoning.id)),
            )
        if one.side:
            st.badge(t(f"dlg.side.{one.side}"), color="violet")
    if one.reasoning:
        st.caption(t("dlg.reasoning"))
        show_text(one.reasoning.text)
        draw_reading(read, one.reasoning.ref)
    st.caption(t("dlg.the_answer"))
    show_text(one.answer.text)
    draw_reading(read, one.answer.ref)


def _choose(dialogue_id: int, node_id: int, answer_id: int, by: By) -> None:
    at = (dialogue_id, node_id, answer_id)
    decide(reason_draft(node_id), lambda session, why: choose(session, *at, by, reason=why))
    remember("asking", None)


def _draw_card_bar(tree: Tree, view: NodeView, by: By) -> None:
    at = (tree.dialogue.id, view.node.id)
    with st.container(horizontal=True, gap="xsmall"):
        start = later(lambda session: answer(session, registry(), *at, by))
        button(t("dlg.more_answers"), Key.ADD, "add", start)
        argue_button(tree, view, by)
        judge_button(tree, view, by)


def _draw_chosen(
    view: NodeView, one: AnswerCard, read: Mapping[str, str], *, is_open: bool = True
) -> None:
    choice = next(event for event in reversed(view.events) if event.kind == "choose")
    with st.chat_message("assistant", avatar=":material/forum:"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.caption(t("dlg.chosen"), width="content")
            if one.side:
                st.badge(t(f"dlg.side.{one.side}"), color="violet")
            if choice.automatic:
                automatic_mark()
            st.space("stretch")
            if is_open:
                button(t("dlg.choose_again"), Key.UNDO, "undo", remember, "asking", "answers")
        if choice.reason:
            st.caption(t("dlg.because", reason=escaped(choice.reason)))
        show_text(one.answer.text)
        draw_reading(read, one.answer.ref)
        if one.reasoning:
            with st.expander(t("dlg.reasoning")):
                show_text(one.reasoning.text)
                draw_reading(read, one.reasoning.ref)


def argue_button(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the button that has both sides argued, where the theme has an opposing goal."""
    if not tree.dialogue.theme.opposing_goal:
        return
    at, is_coming = (tree.dialogue.id, view.node.id), view.is_under_way("answer")
    start = later(lambda session: argue(session, registry(), *at, by))
    label, meaning = t("dlg.argue"), t("dlg.argue_help")
    button(label, Key.ARGUE, "balance", start, help=meaning, disabled=is_coming)


def judge_button(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the button that has the audience judge the two sides, where both are there."""
    pair = sides_of(view)
    if pair is None or not tree.dialogue.theme.audience:
        return
    at = (tree.dialogue.id, view.node.id)
    start = later(lambda session: judge(session, registry(), *at, pair, by))
    label, meaning = t("dlg.judge"), t("dlg.judge_help")
    button(label, Key.JUDGE, "gavel", start, help=meaning, disabled=view.is_under_way("judge"))


def sides_of(view: NodeView) -> tuple[int, int] | None:
    """Return the latest answers for each goal; None unless both are there."""
    found: dict[str, int] = {}
    for one in (*view.folded, *view.shown):
        if one.side:
            found[one.side] = max(one.answer.id, found.get(one.side, 0))
    if "goal" in found and "opposing" in found:
        return found["goal"], found["opposing"]
    return None


def draw_verdicts(tree: Tree, view: NodeView) -> None:
    """Draw what the audience said of the latest pair, in each order, and whether they agree."""
    with database().read() as session:
        found = verdicts(session, tree.dialogue.id, view.node.id)
    events = found.get(sides_of(view) or (0, 0), [])
    if not events:
        return
    with card("verdict", gap="xsmall"):
        audience = escaped(tree.dialogue.theme.audience or "")
        st.markdown(f":material/gavel: **{t('dlg.verdict', audience=audience)}**")
        latest = {event.payload["is_swapped"]: event for event in events}
        for is_swapped, event in sorted(latest.items()):
            outcome = event.payload["outcome"] or "none"
            order = t("dlg.swapped" if is_swapped else "dlg.in_order")
            st.caption(f"{order}: **{t(f'dlg.verdict.{outcome}')}**")
            if event.payload["why"]:
                show_text(event.payload["why"])
            for problem in event.payload["problems"]:
                st.caption(f":material/info: {told(problem)}")
        outcomes = {event.payload["outcome"] for event in latest.values()}
        if len(latest) == 2 and None not in outcomes:
            st.caption(t("dlg.verdict_agree" if len(outcomes) == 1 else "dlg.verdict_order"))
