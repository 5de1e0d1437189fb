"""The turn at hand: answers to choose from, then questions to choose from, each by key."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import streamlit as st

from db.tables import MOVES
from workbench.dialogue.cards import AnswerCard, NodeView
from workbench.dialogue.decisions import choose
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.sides import argue, judge, verdicts
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By, answer, ask
from workbench.ui import url
from workbench.ui.dialogue_acts import act, draw_reason, later, reason, remember, remembered
from workbench.ui.dialogue_candidates import draw_candidates
from workbench.ui.dialogue_notes import draw_notes
from workbench.ui.i18n import t
from workbench.ui.parts import card
from workbench.ui.sentences import said
from workbench.ui.store import database, registry
from workbench.ui.text import escaped, show_text

EDIT_KEYS = "QWERTYUIOP"
"""The keys under the digits edit what the digits choose."""


def draw_turn(tree: Tree, view: NodeView, by: By, read: Mapping[str, str]) -> None:
    """Draw what comes next at a question; nothing can be pressed where the session is not open."""
    for problem in view.problems:
        st.warning(escaped(said(problem)), icon=":material/info:")
    if tree.dialogue.state != "open":
        _draw_cards(tree, view, by, read, is_open=False)
        return
    waits = {one.kind for one in view.under_way}
    step = replace(view, under_way=()).step
    choosing = step == "choose" or remembered("asking") == "answers"
    if step == "answer":
        _draw_answer_button(tree, view, by, is_waiting="answer" in waits)
    elif choosing:
        _draw_cards(tree, view, by, read, is_open=True)
    else:
        assert view.chosen
        _draw_chosen(view.chosen, read)
        if step == "ask" or remembered("asking") == "moves":
            _draw_moves(tree, view, by, is_waiting="ask" in waits)
        if step == "pick" and remembered("asking") != "moves":
            draw_candidates(tree, view, by)
    draw_notes(tree, view, by)


def _draw_answer_button(tree: Tree, view: NodeView, by: By, *, is_waiting: bool) -> None:
    st.button(
        t("dlg.answer"),
        type="primary",
        shortcut="A",
        icon=":material/auto_awesome:",
        disabled=is_waiting,
        on_click=later(
            lambda session: answer(session, registry(), tree.dialogue.id, view.node.id, by)
        ),
    )
    st.caption(t("dlg.answer_help"))


def _draw_cards(
    tree: Tree, view: NodeView, by: By, read: Mapping[str, str], *, is_open: bool
) -> None:
    if view.shown:
        st.markdown(f"**{t('dlg.which_answer')}**")
        draw_reason()
        columns = st.columns(min(3, len(view.shown)), gap="small")
        for number, one in enumerate(view.shown):
            with columns[number % len(columns)], card(f"choice_{number}", gap="xsmall"):
                _draw_card(tree, view, by, number, one, read, is_open=is_open)
    if view.folded:
        with st.expander(t("dlg.folded_answers", n=len(view.folded))):
            for number, one in enumerate(view.folded, start=len(view.shown)):
                with card(f"choice_{number}", gap="xsmall"):
                    _draw_card(tree, view, by, number, one, read, is_open=is_open)
    _draw_verdicts(tree, view)
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
    from_key = number < len(view.shown) and number < 9
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.button(
            t("dlg.choose"),
            key=f"choose_{one.answer.id}",
            shortcut=f"{number + 1}" if from_key and is_open else None,
            type="primary" if one.is_chosen else "secondary",
            disabled=not is_open,
            on_click=_choose,
            args=(tree.dialogue.id, view.node.id, one.answer.id, by),
        )
        if one.reasoning and is_open:
            st.button(
                t("dlg.edit"),
                key=f"edit_{one.answer.id}",
                shortcut=EDIT_KEYS[number] if from_key and number < 3 else None,
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
        _draw_read(read, str(one.reasoning.ref))
    st.caption(t("dlg.the_answer"))
    show_text(one.answer.text)
    _draw_read(read, str(one.answer.ref))


def _choose(dialogue_id: int, node_id: int, answer_id: int, by: By) -> None:
    why = reason()
    act(lambda session: choose(session, dialogue_id, node_id, answer_id, by, reason=why))
    remember("asking", None)


def _draw_card_bar(tree: Tree, view: NodeView, by: By) -> None:
    at = (tree.dialogue.id, view.node.id)
    with st.container(horizontal=True, gap="xsmall"):
        st.button(
            t("dlg.more_answers"),
            shortcut="M",
            icon=":material/add:",
            type="tertiary",
            on_click=later(lambda session: answer(session, registry(), *at, by)),
        )
        if tree.dialogue.theme.opposing_goal:
            st.button(
                t("dlg.argue"),
                shortcut="O",
                icon=":material/balance:",
                type="tertiary",
                help=t("dlg.argue_help"),
                on_click=later(lambda session: argue(session, registry(), *at, by)),
            )
        pair = sides_of(view)
        if pair and tree.dialogue.theme.audience:
            st.button(
                t("dlg.judge"),
                shortcut="J",
                icon=":material/gavel:",
                type="tertiary",
                help=t("dlg.judge_help"),
                on_click=later(lambda session: judge(session, registry(), *at, pair, by)),
            )


def sides_of(view: NodeView) -> tuple[int, int] | None:
    """Return the latest answers for each goal; None unless both are there."""
    found = {one.side: one.answer.id for one in (*view.folded, *view.shown) if one.side}
    if "goal" in found and "opposing" in found:
        return found["goal"], found["opposing"]
    return None


def _draw_verdicts(tree: Tree, view: NodeView) -> None:
    with database().read() as session:
        told = verdicts(session, tree.dialogue.id, view.node.id)
    for events in told.values():
        for event in events:
            outcome = event.payload["outcome"] or "none"
            order = t("dlg.swapped" if event.payload["is_swapped"] else "dlg.in_order")
            words = t(f"dlg.verdict.{outcome}")
            st.caption(f":material/gavel: {order}: {words} {escaped(event.payload['why'])}")


def _draw_read(read: Mapping[str, str], ref: str) -> None:
    if text := read.get(ref):
        st.caption(f":material/translate: {t('dlg.reading')}")
        show_text(text)


def _draw_chosen(one: AnswerCard, read: Mapping[str, str]) -> None:
    with st.chat_message("assistant", avatar=":material/forum:"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.caption(t("dlg.chosen"), width="content")
            st.space("stretch")
            st.button(
                t("dlg.choose_again"),
                shortcut="B",
                type="tertiary",
                icon=":material/undo:",
                on_click=remember,
                args=("asking", "answers"),
            )
        show_text(one.answer.text)
        _draw_read(read, str(one.answer.ref))
        if one.reasoning:
            with st.expander(t("dlg.reasoning")):
                show_text(one.reasoning.text)
                _draw_read(read, str(one.reasoning.ref))


def _draw_moves(tree: Tree, view: NodeView, by: By, *, is_waiting: bool) -> None:
    """Draw the eight moves, each on its digit, and the button that asks for those chosen."""
    settings = parse_settings(tree.dialogue.settings)
    chosen = cast(tuple[str, ...], st.session_state.get("dialogue_moves") or settings.moves)
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
                    args=(move, chosen),
                )
        st.button(
            t("dlg.ask"),
            type="primary",
            shortcut="A",
            icon=":material/quiz:",
            disabled=is_waiting,
            on_click=_ask,
            args=(tree.dialogue.id, view.node.id, chosen, by),
        )


def _toggle_move(move: str, chosen: tuple[str, ...]) -> None:
    left = tuple(one for one in chosen if one != move) if move in chosen else (*chosen, move)
    st.session_state["dialogue_moves"] = left or chosen


def _ask(dialogue_id: int, node_id: int, moves: tuple[str, ...], by: By) -> None:
    act(lambda session: ask(session, registry(), dialogue_id, node_id, by, moves=moves))
    remember("asking", None)
