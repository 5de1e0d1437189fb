"""Reading translations on one key: the texts at hand in the reader's language."""

from collections.abc import Iterator, Mapping, Sequence

import streamlit as st

from db.dialogues import EventRow, read_events
from workbench.dialogue.cards import NodeView
from workbench.dialogue.events import By, open_steps
from workbench.dialogue.reading import (
    candidate_name,
    line_name,
    translate,
    translations,
)
from workbench.dialogue.synopsis import Synopsis
from workbench.dialogue.tree import Tree, TreeNode
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.keys import Key
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import show_text, told
from workbench.ui.dialogues.acts import act, button

READING = "dialogue_reading"
"""Number of the last event when translations were asked for; absent where none are wanted."""


def is_reading() -> bool:
    """Tell whether translations are shown in this visit."""
    return READING in st.session_state


def reading_language(tree: Tree) -> str:
    """Return the language to read in: the interface's, or the other one where that is written."""
    mine = current_language()
    if tree.dialogue.theme.language != mine:
        return mine
    return "en" if mine == "ja" else "ja"


def reading_button(tree: Tree) -> None:
    """Draw the button that shows or hides translations of what is on the page."""
    label = t("dlg.read_off") if is_reading() else t("dlg.read")
    button(label, Key.READING, "translate", _toggle, tree, help=t("dlg.read_help"))


def _toggle(tree: Tree) -> None:
    if is_reading():
        del st.session_state[READING]
        return
    with database().read() as session:
        events = read_events(session, tree.dialogue.id)
    st.session_state[READING] = events[-1].id if events else 0


def read_here(
    tree: Tree, view: NodeView, before: Sequence[TreeNode], by: By | None
) -> Mapping[str, str]:
    """Return translations of the question at hand by name; see ``_read``."""
    return _read(tree, view.node.id, list(_names(view, before)), by)


def read_lines(tree: Tree, found: Synopsis, by: By | None) -> Mapping[str, str]:
    """Return translations of a synopsis by the names of its lines; see ``_read``."""
    names = [line_name(found.event.id, place) for place in range(len(found.lines))]
    return _read(tree, tree.nodes[0].id, names, by)


def _read(tree: Tree, node_id: int, names: Sequence[str], by: By | None) -> Mapping[str, str]:
    """Return translations by name, once what is at hand has been asked for at a node.

    What failed is told, and asked for again only where the person asks for translations again.
    """
    if not is_reading():
        return {}
    language, dialogue_id = reading_language(tree), tree.dialogue.id
    with database().read() as session:
        found = translations(session, dialogue_id, language)
        events = read_events(session, dialogue_id, kinds=("translate", "translated"))
    own = [event for event in events if event.payload["language"] == language]
    since = st.session_state[READING]
    in_vain = {
        event.payload["ref"]: event
        for event in own
        if event.kind == "translated" and not event.payload["text"] and event.id > since
    }
    known = {*found, *in_vain, *_on_their_way(own)}
    missing = [name for name in names if name not in known]
    if missing and by is not None and tree.dialogue.state == "open":
        at = (dialogue_id, node_id)
        act(
            lambda session: [
                translate(session, registry(), *at, name, language, by) for name in missing
            ]
        )
        st.rerun()
    problems = [problem for event in in_vain.values() for problem in event.payload["problems"]]
    for problem in dict.fromkeys(problems):
        st.warning(told(problem), icon=":material/translate:")
    return found


def draw_reading(read: Mapping[str, str], name: object) -> None:
    """Draw the reading translation of a text, where it is wanted and there."""
    if text := read.get(str(name)):
        with st.container(key=f"reading_{str(name).replace('.', '_')}", gap=None):
            st.caption(f":material/translate: {t('dlg.reading')}")
            show_text(text)


def _on_their_way(events: Sequence[EventRow]) -> set[str]:
    return {event.payload["ref"] for event in open_steps(events)}


def _names(view: NodeView, before: Sequence[TreeNode]) -> Iterator[str]:
    """Return the names of the texts that are shown: what to decide on, then the way there."""
    yield f"q{view.question.id}"
    for card in [view.chosen] if view.chosen else view.shown:
        if card.reasoning:
            yield str(card.reasoning.ref)
        yield str(card.answer.ref)
    for one in view.candidates if view.step == "pick" else ():
        if one.is_shown:
            yield candidate_name(one.event_id, one.place)
    for node in reversed(before):
        yield f"q{node.question_id}"
        if node.answer_id:
            yield f"a{node.answer_id}"
