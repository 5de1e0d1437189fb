"""Reading translations on one key: the texts at hand in the reader's language."""

import streamlit as st
from sqlalchemy.orm import Session

from db.dialogues import read_events
from db.refs import parse_ref
from workbench.dialogue.cards import NodeView
from workbench.dialogue.reading import translate, translations
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By, open_steps
from workbench.ui.dialogue_acts import act
from workbench.ui.i18n import current_language, t
from workbench.ui.store import registry

READING = "dialogue_reading"


def is_reading() -> bool:
    """Tell whether translations are shown in this visit."""
    return bool(st.session_state.get(READING))


def reading_language(tree: Tree) -> str:
    """Return the language to read in: the interface's, or the other one where that is written."""
    mine = current_language()
    if tree.dialogue.theme.language != mine:
        return mine
    return "en" if mine == "ja" else "ja"


def reading_button(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the button that shows or hides translations of what is on the page."""
    st.button(
        t("dlg.read_off") if is_reading() else t("dlg.read"),
        shortcut="X",
        icon=":material/translate:",
        type="tertiary",
        help=t("dlg.read_help"),
        on_click=_toggle,
        args=(tree, view, by),
    )


def _toggle(tree: Tree, view: NodeView, by: By) -> None:
    st.session_state[READING] = not is_reading()
    if is_reading():
        act(lambda session: _order(session, tree, view, by))


def _order(session: Session, tree: Tree, view: NodeView, by: By) -> None:
    """Have translated what is at hand and has no translation, on its way or there."""
    language = reading_language(tree)
    dialogue_id = tree.dialogue.id
    known = set(translations(session, dialogue_id, language))
    known |= {
        event.payload["ref"]
        for event in open_steps(read_events(session, dialogue_id))
        if event.kind == "translate" and event.payload["language"] == language
    }
    cards = [view.chosen] if view.chosen else list(view.shown)
    refs = [f"q{view.question.id}"]
    for card in cards:
        refs += [str(card.reasoning.ref)] if card.reasoning else []
        refs.append(str(card.answer.ref))
    for name in refs:
        if name not in known:
            translate(session, registry(), dialogue_id, view.node.id, parse_ref(name), language, by)
