"""How further turns are written: model, format, counts, lengths; the eight moves by digit."""

from typing import Any, cast

import streamlit as st

from db.models import list_models
from db.tables import MOVES
from workbench.dialogue.cards import NodeView
from workbench.dialogue.sessions import set_settings
from workbench.dialogue.settings import DialogueSettings, parse_settings
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By, ask
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.store import database, registry
from workbench.ui.dialogues.acts import PROBLEM, act, draw_problem, remember


def draw_moves(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the moves, and the button that asks; what is chosen stays for the visit."""
    settings = parse_settings(tree.dialogue.settings)
    key = moves_key(tree.dialogue.id)
    chosen = cast(tuple[str, ...], st.session_state.get(key) or settings.moves)
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
                    args=(key, move, chosen),
                )
        st.button(
            t("dlg.ask"),
            type="primary",
            shortcut="A",
            icon=":material/quiz:",
            disabled=any(one.kind == "ask" for one in view.under_way),
            on_click=_ask,
            args=(tree.dialogue.id, view.node.id, chosen, by),
        )


def moves_key(dialogue_id: int) -> str:
    """Return where this visit remembers which moves were chosen in a dialogue."""
    return f"dialogue_moves_{dialogue_id}"


def _toggle_move(key: str, move: str, chosen: tuple[str, ...]) -> None:
    left = tuple(one for one in chosen if one != move) if move in chosen else (*chosen, move)
    st.session_state[key] = left or chosen


def _ask(dialogue_id: int, node_id: int, moves: tuple[str, ...], by: By) -> None:
    act(lambda session: ask(session, registry(), dialogue_id, node_id, by, moves=moves))
    remember("asking", None)


COUNTS = {"variants": 32, "answers": 32, "shown_answers": 12, "shown_questions": 24}
"""Settings that are numbers of something, each with the most that it can be."""
LENGTHS = ("reasoning", "answer", "ask")
MOST_TOKENS = 8_192


def draw_settings(tree: Tree, by: By) -> None:
    """Draw the settings to be changed; what was written under the old ones stays."""
    settings = parse_settings(tree.dialogue.settings)
    with card("settings"), st.form("settings", border=False):
        st.markdown(f"**{t('set.title')}**")
        st.caption(t("set.help"))
        changes = _writer(settings) | _counts(settings)
        pressed = st.form_submit_button(t("set.save"), icon=":material/save:")
    if not pressed:
        return
    new = {name: value for name, value in changes.items() if value != _now(settings)[name]}
    if not new:
        st.info(t("set.same"))
        return
    act(lambda session: set_settings(session, tree.dialogue.id, new, by))
    if PROBLEM in st.session_state:
        draw_problem()
        return
    st.session_state.pop(moves_key(tree.dialogue.id), None)
    st.toast(t("set.saved"), icon=":material/check:")
    st.rerun()


def _now(settings: DialogueSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def _writer(settings: DialogueSettings) -> dict[str, Any]:
    with database().read() as session:
        models = [model.name for model in list_models(session)]
    forms = [name for name, one in registry().formats.items() if one.definition.tasks.answer]
    left, right = st.columns(2)
    names = list(dict.fromkeys(["default", settings.model, *models]))
    model = left.selectbox(t("set.model"), names, names.index(settings.model))
    forms = list(dict.fromkeys([settings.prompt_format, *forms]))
    form = right.selectbox(t("set.format"), forms, forms.index(settings.prompt_format))
    mode = left.selectbox(
        t("set.mode"),
        ["reasoning", "vanilla"],
        ["reasoning", "vanilla"].index(settings.mode),
        format_func=lambda name: t(f"set.mode.{name}"),
    )
    timeout = right.number_input(
        t("set.timeout"), 1.0, 86_400.0, settings.turn_timeout_s, step=10.0, format="%.0f"
    )
    moves = st.multiselect(
        t("dlg.moves"),
        MOVES,
        settings.moves,
        format_func=lambda move: t(f"dlg.move.{move}"),
    )
    return {
        "model": model,
        "prompt_format": form,
        "mode": mode,
        "turn_timeout_s": float(timeout),
        "moves": moves,
    }


def _counts(settings: DialogueSettings) -> dict[str, Any]:
    now = _now(settings)
    changes: dict[str, Any] = {}
    columns = st.columns(2)
    for number, (name, most) in enumerate(COUNTS.items()):
        label = t(f"dlg.{name}" if name in ("variants", "answers") else f"set.{name}")
        changes[name] = int(columns[number % 2].number_input(label, 1, most, now[name]))
    for column, name in zip(st.columns(3), LENGTHS, strict=True):
        key = f"{name}_sampling"
        tokens = int(
            column.number_input(
                t(f"set.{name}_tokens"), 1, MOST_TOKENS, min(now[key]["max_tokens"], MOST_TOKENS)
            )
        )
        changes[key] = now[key] | {"max_tokens": tokens}
    return changes
