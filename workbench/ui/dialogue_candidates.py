"""Proposed questions: select by digit, then pick, edit, park, reject or merge by key."""

from collections.abc import Callable, Sequence

import streamlit as st

from workbench.dialogue.cards import Candidate, NodeView
from workbench.dialogue.decisions import merge, park, pick, reject, write
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By
from workbench.ui.dialogue_acts import (
    act,
    draw_reason,
    reason,
    reason_now,
    remember,
    remembered,
    show_node,
)
from workbench.ui.dialogue_curve import draw_curve
from workbench.ui.i18n import t
from workbench.ui.parts import card, focus
from workbench.ui.text import escaped, show_text

MOST_KEYS = 9


def draw_candidates(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the proposed questions of the latest asking, and what can be done with one."""
    shown = [one for one in view.candidates if one.is_shown]
    folded = [one for one in view.candidates if not one.is_shown]
    st.markdown(f"**{t('dlg.which_question')}**")
    selected = _selected(shown, (*folded, *view.earlier_candidates))
    for number, one in enumerate(shown, start=1):
        _draw(number, one, is_selected=selected is one)
    _draw_actions(tree, view, by, selected)
    _draw_own(tree, view, by, selected)
    repeats = [one for one in folded if one.is_repeat]
    others = [one for one in (*folded, *view.earlier_candidates) if one not in repeats]
    for name, group in (("dlg.folded_repeats", repeats), ("dlg.folded_questions", others)):
        if group:
            with st.expander(t(name, n=len(group))):
                for one in group:
                    _draw(None, one, is_selected=selected is one)
    draw_curve(tree, view.node.id)


def _key(one: Candidate) -> str:
    return f"{one.event_id}_{one.place}"


def _selected(shown: Sequence[Candidate], folded: Sequence[Candidate]) -> Candidate | None:
    wanted = remembered("selected")
    free = [one for one in shown if one.decision is None]
    found = next((one for one in (*shown, *folded) if _key(one) == wanted), None)
    return found or next(iter(free), None)


def _draw(number: int | None, one: Candidate, *, is_selected: bool) -> None:
    mark = "on" if is_selected else "off"
    with st.container(border=True, key=f"candidate_{mark}_{_key(one)}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.button(
                t("dlg.selected") if is_selected else t("dlg.select"),
                key=f"select_{_key(one)}",
                shortcut=f"{number}" if number and number <= MOST_KEYS else None,
                type="primary" if is_selected else "secondary",
                on_click=remember,
                args=("selected", _key(one)),
            )
            if one.move:
                st.badge(t(f"dlg.move.{one.move}"), color="blue")
            for words in _measures(one):
                st.caption(words, width="content")
            if one.decision:
                st.badge(t(f"dlg.decided.{one.decision}"), color="orange")
        show_text(one.text)
        if one.is_repeat and one.nearest:
            st.caption(t("dlg.repeats", text=escaped(one.nearest)))
        if one.reason:
            st.caption(t("dlg.because", reason=escaped(one.reason)))


def _measures(one: Candidate) -> list[str]:
    words = [t("dlg.novelty", n=round(100 * (1 - one.similarity)))]
    if one.goal_distance is not None:
        words.append(t("dlg.distance", n=round(100 * one.goal_distance)))
    if one.towards:
        words.append(t(f"dlg.towards.{one.towards}"))
    return words


def _draw_actions(tree: Tree, view: NodeView, by: By, one: Candidate | None) -> None:
    with st.container(key="dialogue_bar", gap="xsmall"):
        draw_reason()
        with st.container(horizontal=True, gap="xsmall"):
            if one:
                _draw_decisions((tree.dialogue.id, view.node.id), one, by)
            for name, key, icon, what in (
                ("write", "W", "add_notes", ("panel", "write")),
                ("other_moves", "L", "quiz", ("asking", "moves")),
            ):
                st.button(
                    t(f"dlg.{name}"),
                    shortcut=key,
                    icon=f":material/{icon}:",
                    type="tertiary",
                    on_click=remember,
                    args=what,
                )


def _draw_decisions(at: tuple[int, int], one: Candidate, by: By) -> None:
    st.button(
        t("dlg.pick"),
        shortcut="P",
        type="primary",
        icon=":material/check:",
        on_click=_pick,
        args=(*at, one, by),
    )
    st.button(
        t("dlg.edit"),
        key="edit_question",
        shortcut="E",
        icon=":material/edit:",
        on_click=remember,
        args=("panel", "edit"),
    )
    for name, key, icon, do in (
        ("park", "K", "bookmark", park),
        ("reject", "D", "close", reject),
    ):
        st.button(
            t(f"dlg.{name}"),
            shortcut=key,
            icon=f":material/{icon}:",
            on_click=_decide,
            args=(do, *at, one, by),
        )
    _merge_button(at, one, by)


def _merge_button(at: tuple[int, int], one: Candidate, by: By) -> None:
    """First press: the others are to be told; second press: they ask the same as the first."""
    keep = remembered("merging")
    is_second = isinstance(keep, Candidate) and keep.event_id == one.event_id and keep != one
    st.button(
        t("dlg.merge_into") if is_second else t("dlg.merge"),
        shortcut="M",
        icon=":material/merge:",
        type="primary" if is_second else "secondary",
        help=t("dlg.merge_help"),
        on_click=_merge,
        args=(at, keep if is_second else None, one, by),
    )


def _merge(at: tuple[int, int], keep: Candidate | None, one: Candidate, by: By) -> None:
    if keep is None:
        remember("merging", one)
        return
    why = reason()
    act(lambda session: merge(session, *at, one.event_id, keep.place, [one.place], by, reason=why))
    remember("merging", None)
    remember("selected", None)


def _pick(dialogue_id: int, node_id: int, one: Candidate, by: By) -> None:
    why = reason()
    child = act(
        lambda session: pick(session, dialogue_id, node_id, one.event_id, one.place, by, reason=why)
    )
    if child:
        show_node(child)


def _decide(do: Callable[..., int], dialogue_id: int, node_id: int, one: Candidate, by: By) -> None:
    why = reason()
    act(lambda session: do(session, dialogue_id, node_id, one.event_id, one.place, by, reason=why))
    remember("selected", None)


def _draw_own(tree: Tree, view: NodeView, by: By, one: Candidate | None) -> None:
    """Draw the field for a question of the person's own, or their words for the selected one."""
    panel = remembered("panel")
    if one is None and panel is None:
        panel = "write"
    if panel not in ("edit", "write"):
        return
    is_edit = panel == "edit" and one is not None
    with card("own_question"), st.form("own_question", border=False):
        text = st.text_area(
            t("dlg.edit_question") if is_edit else t("dlg.own_question"),
            one.text if is_edit and one else "",
            key="dialogue_own",
            height=90,
        )
        pressed = st.form_submit_button(t("dlg.take"), type="primary", icon=":material/send:")
    if remembered("panel"):
        focus("dialogue_own")
    if pressed:
        why, at = reason_now(), (tree.dialogue.id, view.node.id)
        if is_edit and one:
            ids = (one.event_id, one.place)
            child = act(lambda s: pick(s, *at, *ids, by, text=text or "", reason=why))
        else:
            child = act(lambda s: write(s, *at, text or "", by, reason=why))
        if child:
            show_node(child)
        st.rerun()
