"""The list of dialogues: the one that something happened in last first; how to begin one."""

import streamlit as st

from db.dialogues import DialogueSummary, list_dialogues
from workbench.dialogue.outcomes import words_of_reports
from workbench.dialogue.report import forked_words
from workbench.ui.components import url
from workbench.ui.components.controls import new_button, open_button
from workbench.ui.components.i18n import counted, current_language, t
from workbench.ui.components.labels import ago
from workbench.ui.components.parts import card, card_head, empty_state, list_head
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped
from workbench.ui.dialogues.marks import state_mark
from workbench.ui.dialogues.new import draw_examples

MOST = 50


def draw_list() -> None:
    """Draw the dialogues, or how to begin the first one."""
    with database().read() as session:
        found = list_dialogues(session)
    with list_head("dlg"):
        if found:
            _import_button()
            _new_button()
    if not found:
        with empty_state("dialogues", "forum", "dlg.none"):
            _new_button()
            _import_button()
        draw_examples()
        return
    page = url.page_of("page", len(found), MOST)
    for one in found[(page - 1) * MOST : page * MOST]:
        _draw(one)
    url.pages("page", len(found), MOST)


def _new_button() -> None:
    new_button(t("dlg.new"))


def _import_button() -> None:
    st.button(
        t("sheet.open"),
        icon=":material/upload_file:",
        help=t("sheet.lead"),
        on_click=url.put,
        args=("import", "1"),
    )


def _draw(one: DialogueSummary) -> None:
    with card(f"dialogue_{one.id}", gap="xsmall"):
        with card_head(f"dialogue_{one.id}", escaped(one.name)):
            state_mark(one.state)
            open_button(t("dlg.open"), f"open_{one.id}", "session", one.id)
        answered = t("dlg.answered", n=one.n_answered)
        st.caption(
            f"{counted('questions', one.n_nodes)} · {answered} · "
            + t("dlg.changed", ago=ago(one.changed_at))
        )
        if one.forked_from is not None:
            words = words_of_reports(current_language())
            st.caption(escaped(forked_words(one.forked_from, words)))
