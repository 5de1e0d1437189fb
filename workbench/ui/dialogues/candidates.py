"""The proposed questions to choose from, and the field for a question of one's own."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from workbench.dialogue.cards import Candidate, NodeView
from workbench.dialogue.decisions import merge, park, pick, reject, write
from workbench.dialogue.events import By
from workbench.dialogue.outcomes import called_words
from workbench.dialogue.reading import candidate_name
from workbench.dialogue.tree import Tree
from workbench.ui.components.controls import focus
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.keys import Key, digit
from workbench.ui.components.parts import card
from workbench.ui.components.text import escaped, show_text
from workbench.ui.dialogues.acts import (
    button,
    cancel_button,
    decide,
    draw_reason,
    go_there,
    reason_draft,
    remember,
    remembered,
    show_node,
)
from workbench.ui.dialogues.compare import draw_curve, draw_like, in_store, store_button
from workbench.ui.dialogues.reading import draw_reading


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


def draw_candidates(tree: Tree, view: NodeView, by: By, read: Mapping[str, str]) -> None:
    """Draw the proposed questions of the latest asking, and what can be done with one."""
    shown = [one for one in view.candidates if one.is_shown]
    folded = [one for one in view.candidates if not one.is_shown]
    st.markdown(f"**{t('dlg.which_question')}**")
    selected = _selected(shown, (*folded, *view.earlier_candidates))
    like = in_store(tree.dialogue.id, shown)
    for number, one in enumerate(shown, start=1):
        _draw(number, one, read, is_selected=selected is one)
        draw_like(like, one)
    _draw_actions(tree, view, by, selected)
    draw_own(tree, view, by, selected)
    repeats = [one for one in folded if one.is_repeat]
    others = [one for one in (*folded, *view.earlier_candidates) if one not in repeats]
    for name, group in (("dlg.folded_repeats", repeats), ("dlg.folded_questions", others)):
        if group:
            with st.expander(t(name, n=len(group))):
                for one in group:
                    _draw(None, one, read, is_selected=selected is one)
    draw_curve(tree, view.node.id)


def draw_proposed(view: NodeView, read: Mapping[str, str]) -> None:
    """Draw what was proposed, to be read only."""
    proposed = (*view.candidates, *view.earlier_candidates)
    if proposed:
        with st.expander(t("dlg.proposed", n=len(proposed))):
            for one in proposed:
                _draw(None, one, read, is_selected=False, is_open=False)


def _selected(shown: Sequence[Candidate], folded: Sequence[Candidate]) -> Candidate | None:
    wanted = remembered("selected")
    free = [one for one in shown if one.decision is None]
    found = next((one for one in (*shown, *folded) if _key(one) == wanted), None)
    return found or next(iter(free), None)


def _key(one: Candidate) -> str:
    return f"{one.event_id}_{one.place}"


def _draw(
    number: int | None,
    one: Candidate,
    read: Mapping[str, str],
    *,
    is_selected: bool,
    is_open: bool = True,
) -> None:
    mark = "on" if is_selected else "off"
    with st.container(border=True, key=f"candidate_{mark}_{_key(one)}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            if is_open:
                _select_button(number, one, is_selected=is_selected)
            _draw_marks(one)
        show_text(one.text)
        draw_reading(read, candidate_name(one.event_id, one.place))
        if one.is_repeat and one.nearest:
            st.caption(t("dlg.repeats", text=escaped(one.nearest)))
        if one.outcome and one.outcome.text:
            st.caption(t("dlg.became", text=escaped(one.outcome.text)))
        if one.reason:
            st.caption(t("dlg.because", reason=escaped(one.reason)))


def _select_button(number: int | None, one: Candidate, *, is_selected: bool) -> None:
    st.button(
        t("dlg.selected") if is_selected else t("dlg.select"),
        key=f"select_{_key(one)}",
        shortcut=digit(number) if number else None,
        type="primary" if is_selected else "secondary",
        on_click=_select,
        args=(one,),
    )


def _select(one: Candidate) -> None:
    remember("selected", _key(one))
    if remembered("panel") == "edit":
        remember("panel", None)


def _draw_marks(one: Candidate) -> None:
    if one.move:
        st.badge(t(f"dlg.move.{one.move}"), color="blue")
    for words, meaning in _measures(one):
        st.caption(words, width="content", help=meaning)
    if one.decision or not one.is_shown:
        words = called_words(current_language())[one.called]
        st.badge(words, color="orange" if one.decision else "gray")
    if remembered("merging") == _key(one):
        st.badge(t("dlg.merge_keeps"), icon=":material/merge:", color="green")


def _measures(one: Candidate) -> list[tuple[str, str]]:
    """Return what was measured of a proposal, each with what it means."""
    words = [(t("dlg.novelty", n=round(100 * (1 - one.similarity))), t("dlg.novelty_help"))]
    if one.goal_distance is not None:
        n = round(100 * one.goal_distance)
        words.append((t("dlg.distance", n=n), t("dlg.distance_help")))
    if one.towards:
        words.append((t(f"dlg.towards.{one.towards}"), t("dlg.towards_help")))
    return words


def _draw_actions(tree: Tree, view: NodeView, by: By, one: Candidate | None) -> None:
    with st.container(key="dialogue_bar", gap="xsmall"):
        draw_reason(view.node.id)
        with st.container(horizontal=True, gap="xsmall"):
            if one:
                _draw_decisions(view, tree.dialogue.id, one, by)
            button(
                t("dlg.write"), Key.WRITE, "add_notes", remember, "panel", "write", opens="write"
            )
            button(t("dlg.other_moves"), Key.MOVES, "quiz", remember, "asking", "moves")
            store_button(view)


def _draw_decisions(view: NodeView, dialogue_id: int, one: Candidate, by: By) -> None:
    at = (dialogue_id, view.node.id)
    there = _led_to(view, one)
    label, icon = ("pick", "check") if there is None else ("go_there", "arrow_forward")
    button(t(f"dlg.{label}"), Key.TAKE, icon, _pick, *at, one, there, by, look="primary")
    edit = ("panel", "edit")
    button(t("dlg.edit"), Key.EDIT, "edit", remember, *edit, opens="edit", look="secondary")
    for name, key, icon, do in (
        ("park", Key.PARK, "bookmark", park),
        ("reject", Key.NOT_OK, "close", reject),
    ):
        button(
            t(f"dlg.{name}"),
            key,
            icon,
            _decide,
            *(do, *at, one, by),
            look="secondary",
            disabled=there is not None or one.decision == name,
        )
    _merge_button(view, at, one, by)


def _led_to(view: NodeView, one: Candidate) -> int | None:
    """Return the node that a proposal became when it was picked or parked, if it was."""
    for event in reversed(view.events):
        told = event.payload
        if (told.get("event"), told.get("place")) == (one.event_id, one.place):
            made = told.get("to") if event.kind == "pick" else told.get("node")
            return int(made) if made is not None else None
    return None


def _merge_button(view: NodeView, at: tuple[int, int], one: Candidate, by: By) -> None:
    """First press: the others are to be told; second press: they ask the same as the first."""
    keep = next((c for c in view.candidates if _key(c) == remembered("merging")), None)
    is_second = keep is not None and keep.event_id == one.event_id and keep != one
    is_first = keep == one
    button(
        t("dlg.merge_into" if is_second else "dlg.merge_not" if is_first else "dlg.merge"),
        Key.MERGE,
        "merge",
        _merge,
        *(at, keep if is_second else None, None if is_first else one, by),
        look="primary" if is_second else "secondary",
        help=t("dlg.merge_help"),
        disabled=one.merged_into is not None,
    )


def _merge(at: tuple[int, int], keep: Candidate | None, one: Candidate | None, by: By) -> None:
    if keep is None or one is None:
        remember("merging", _key(one) if one else None)
        return
    into, others = (*at, keep.event_id, keep.place), [one.place]
    decide(reason_draft(at[1]), lambda session, why: merge(session, *into, others, by, reason=why))
    remember("merging", None)
    remember("selected", None)


def _pick(dialogue_id: int, node_id: int, one: Candidate, there: int | None, by: By) -> None:
    if there is not None:
        go_there(dialogue_id, there, by, is_open=True, why=reason_draft(node_id))
        return
    at = (dialogue_id, node_id, one.event_id, one.place)
    child = decide(reason_draft(node_id), lambda session, why: pick(session, *at, by, reason=why))
    if child:
        show_node(child)


def _decide(do: Callable[..., int], dialogue_id: int, node_id: int, one: Candidate, by: By) -> None:
    at = (dialogue_id, node_id, one.event_id, one.place)
    decide(reason_draft(node_id), lambda session, why: do(session, *at, by, reason=why))
    remember("selected", None)
