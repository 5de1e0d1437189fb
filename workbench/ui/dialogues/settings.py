"""How further turns are written: model, format, counts, lengths; the eight moves by digit."""

from collections.abc import Mapping
from typing import Any, cast

import streamlit as st

from db.identity import json_hash
from db.models import list_models
from db.tables import MOVES
from workbench.dialogue.cards import NodeView
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import set_settings
from workbench.dialogue.settings import DialogueSettings, parse_settings
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import ask
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Hint, SpecForm
from workbench.ui.components.i18n import t
from workbench.ui.components.keys import Key, digit
from workbench.ui.components.parts import card
from workbench.ui.components.store import database, registry
from workbench.ui.dialogues.acts import PROBLEM, act, button, draw_problem, remember


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
                    shortcut=digit(number),
                    type="primary" if move in chosen else "secondary",
                    help=t(f"dlg.move_help.{move}"),
                    on_click=_toggle_move,
                    args=(key, move, chosen),
                )
        asked = (tree.dialogue.id, view.node.id, chosen, by)
        is_coming = view.is_under_way("ask")
        button(t("dlg.ask"), Key.ADD, "quiz", _ask, *asked, look="primary", disabled=is_coming)


def moves_key(dialogue_id: int) -> str:
    """Return where this visit remembers which moves were chosen in a dialogue."""
    return f"dialogue_moves_{dialogue_id}"


def _toggle_move(key: str, move: str, chosen: tuple[str, ...]) -> None:
    left = tuple(one for one in chosen if one != move) if move in chosen else (*chosen, move)
    st.session_state[key] = left or chosen


def _ask(dialogue_id: int, node_id: int, moves: tuple[str, ...], by: By) -> None:
    act(lambda session: ask(session, registry(), dialogue_id, node_id, by, moves=moves))
    remember("asking", None)


COUNTS = ("variants", "answers", "shown_answers", "shown_questions")
LENGTHS = ("reasoning", "answer", "ask")
MAX_TOKENS = 8_192
MAX_TIMEOUT_S = 86_400.0


def draw_settings(tree: Tree, by: By) -> None:
    """Draw the settings to be changed; what was written under the old ones stays."""
    base = parse_settings(tree.dialogue.settings).model_dump(mode="json")
    # Another draft for other settings: a field that was left shows what holds by now.
    draft = FormDraft(f"dialogue-{tree.dialogue.id}-settings-{json_hash(base)[:8]}")
    form = SpecForm(draft, DialogueSettings, base, "set", _hints(base))
    draft.draw_notice()
    with card("settings"), st.form("settings", border=False):
        st.markdown(f"**{t('set.title')}**")
        st.caption(t("set.help"))
        form.columns(("model", "mode"), ("prompt_format", "turn_timeout_s"))
        form.draw("moves")
        form.columns(COUNTS[::2], COUNTS[1::2])
        form.columns(*([f"{name}_sampling.max_tokens"] for name in LENGTHS))
        pressed = st.form_submit_button(t("set.save"), icon=":material/save:")
    if not pressed:
        return
    new = {name: value for name, value in form.spec.items() if value != base[name]}
    if not new:
        st.info(t("set.same"))
        return
    act(lambda session: set_settings(session, tree.dialogue.id, new, by))
    if PROBLEM in st.session_state:
        draw_problem()
        return
    draft.forget()
    st.session_state.pop(moves_key(tree.dialogue.id), None)
    st.toast(t("set.saved"), icon=":material/check:")
    st.rerun()


def _hints(base: Mapping[str, Any]) -> dict[str, Hint]:
    with database().read() as session:
        models = [model.name for model in list_models(session)]
    forms = [name for name, one in registry().formats.items() if one.definition.tasks.answer]
    lengths = {
        f"{name}_sampling.max_tokens": Hint(
            text=f"set.{name}_tokens",
            limits=(1, max(MAX_TOKENS, base[f"{name}_sampling"]["max_tokens"])),
        )
        for name in LENGTHS
    }
    now = base["turn_timeout_s"]
    timeout = (min(1.0, now), max(MAX_TIMEOUT_S, now))
    return lengths | {
        "model": Hint(options=list(dict.fromkeys(["default", base["model"], *models]))),
        "prompt_format": Hint(
            text="set.format", options=list(dict.fromkeys([base["prompt_format"], *forms]))
        ),
        "mode": Hint(show="set.mode"),
        "turn_timeout_s": Hint(text="set.timeout", limits=timeout, step=10.0),
        "moves": Hint(text="dlg.moves", options=MOVES, show="dlg.move"),
        "variants": Hint(text="dlg.variants"),
        "answers": Hint(text="dlg.answers"),
    }
