"""The list of dialogues, and a new one: the theme as a form, or one of the example themes."""

from typing import Any

import streamlit as st

from db.dialogues import DialogueSummary, list_dialogues
from db.errors import Q2QError
from db.tables import MOVES
from workbench import EXAMPLES
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import new_dialogue
from workbench.dialogue.outcomes import words_of_reports
from workbench.dialogue.report import forked_words
from workbench.dialogue.settings import (
    LANGUAGES,
    DialogueSettings,
    ThemeFile,
    check_names,
    load_theme,
    parse_theme,
)
from workbench.ui.components import url
from workbench.ui.components.archive import (
    draw_nothing_archived,
    draw_picked,
    draw_switch,
    pick_box,
    shows_archived,
)
from workbench.ui.components.controls import back_link, new_button, open_button, path_of, trail
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import counted, current_language, t
from workbench.ui.components.labels import ago
from workbench.ui.components.parts import card, card_head, empty_state, heading, list_head, section
from workbench.ui.components.rater import ask_rater, enter
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_text, told
from workbench.ui.dialogues.state import state_mark

MAX_SHOWN = 50


def draw_list() -> None:
    """Draw the dialogues, or how to begin the first one."""
    with database().read() as session:
        found = list_dialogues(session, archived=shows_archived())
    with list_head("dlg"):
        if found:
            _import_button()
            _new_button()
    if found or shows_archived():
        draw_picked("dialogue", lambda: [one.id for one in found], _draw_actions)
    else:
        draw_switch("dialogue")
    if not found and shows_archived():
        draw_nothing_archived()
        return
    if not found:
        with empty_state("dialogues", "forum", "dlg.none"):
            _new_button()
            _import_button()
        _draw_examples(ask_rater("dlg.by"))
        return
    page = url.page_of("page", len(found), MAX_SHOWN)
    for one in found[(page - 1) * MAX_SHOWN : page * MAX_SHOWN]:
        _draw(one)
    url.pages("page", len(found), MAX_SHOWN)


def _draw_actions(chosen: list[int]) -> None:
    """Draw what can be done with the picked dialogues."""
    if len(chosen) == 1 and st.button(t("pick.queue"), icon=":material/star:"):
        st.switch_page(path_of("rating"), query_params={"new": "1", "dialogue": str(chosen[0])})


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
            pick_box("dialogue", one.id, one.name)
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


def draw_new() -> None:
    """Draw the form, and the example themes below it."""
    draft = FormDraft("theme")
    trail(back_link(t("dlg.back"), _leave, draft), t("dlg.new"))
    heading(t("dlg.new"), t("dlg.new_lead"))
    name = ask_rater("dlg.by")
    _draw_form(draft, name)
    _draw_examples(name)


def _draw_examples(rater: str) -> None:
    section(t("dlg.examples"))
    themes = [load_theme(path) for path in sorted((EXAMPLES / "themes").glob("*.yaml"))]
    columns = st.columns(2, gap="small")
    for number, theme in enumerate(themes):
        with columns[number % 2], card(f"example_{number}", gap="xsmall"):
            st.markdown(f"**{escaped(theme.name)}**")
            show_text(theme.goal)
            if st.button(
                t("dlg.begin_example"), key=f"example_{number}", icon=":material/play_arrow:"
            ) and _begin(theme, rater):
                st.rerun()


def _leave() -> None:
    url.clear("new")


def _draw_form(draft: FormDraft, rater: str) -> None:
    defaults = DialogueSettings()
    draft.draw_notice()
    with card("theme"):
        concept = _text(draft, "concept", is_long=True)
        goal = _text(draft, "goal", is_long=True)
        opposing = _text(draft, "opposing")
        left, right = st.columns(2)
        with left:
            audience = _text(draft, "audience")
        codes = list(LANGUAGES)
        language = right.selectbox(
            t("dlg.language"),
            codes,
            key=draft.field("language", current_language(), codes),
            format_func=lambda code: t(f"dlg.language.{code}"),
        )
        points = _text(draft, "points", is_long=True)
        first = _text(draft, "first")
        name = _text(draft, "name", max_chars=100)
        with st.expander(t("dlg.how")):
            moves = st.multiselect(
                t("dlg.moves"),
                MOVES,
                key=draft.field("moves", list(defaults.moves), MOVES),
                format_func=lambda move: t(f"dlg.move.{move}"),
            )
            a, b = st.columns(2)
            variants = a.number_input(
                t("dlg.variants"), 1, 12, key=draft.field("variants", defaults.variants)
            )
            answers = b.number_input(
                t("dlg.answers"), 1, 12, key=draft.field("answers", defaults.answers)
            )
        pressed = st.button(
            t("dlg.begin"), type="primary", icon=":material/play_arrow:", width="stretch"
        )
    if not pressed:
        return
    if not (concept or "").strip() or not (goal or "").strip():
        st.error(t("dlg.need"))
        return
    settings: dict[str, Any] = {"moves": moves or list(defaults.moves)}
    given: dict[str, Any] = {
        "name": (name or "").strip() or (concept or "").strip()[:100],
        "concept": concept,
        "goal": goal,
        "opposing_goal": (opposing or "").strip() or None,
        "audience": (audience or "").strip() or None,
        "points_of_view": [line.strip() for line in (points or "").splitlines() if line.strip()],
        "language": language,
        "first_question": (first or "").strip() or None,
        "settings": settings | {"variants": int(variants), "answers": int(answers)},
    }
    try:
        theme = parse_theme(given)
    except Q2QError as error:
        st.error(told(error))
        return
    if _begin(theme, rater):
        draft.forget()
        st.rerun()


def _text(
    draft: FormDraft, name: str, *, is_long: bool = False, max_chars: int | None = None
) -> str | None:
    label, help_text, key = t(f"dlg.{name}"), t(f"dlg.{name}_help"), draft.field(name, "")
    if is_long:
        return st.text_area(label, height=80, help=help_text, key=key)
    return st.text_input(label, help=help_text, key=key, max_chars=max_chars)


def _begin(theme: ThemeFile, rater: str) -> bool:
    """Begin a dialogue and open it; False where it was refused, with the reason drawn."""
    try:
        by = By(rater_id=enter(rater)[0])
        with database().write() as session:
            check_names(session, registry(), theme.settings)
            dialogue_id = new_dialogue(session, theme, by)
    except Q2QError as error:
        st.error(told(error))
        return False
    _leave()
    url.put("session", str(dialogue_id))
    return True
