"""What every button of a dialogue does around its decision: one transaction, one clear sentence."""

from collections.abc import Callable
from typing import Literal, TypeVar

import streamlit as st
from sqlalchemy.orm import Session

from db.dialogues import read_events
from db.errors import Q2QError
from workbench.dialogue.decisions import go_to
from workbench.dialogue.events import By, open_steps
from workbench.dialogue.turn import running_turns
from workbench.ui.components import url
from workbench.ui.components.controls import focus, opens_field
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.keys import RESERVED, Key
from workbench.ui.components.store import database
from workbench.ui.components.text import told

T = TypeVar("T")
PROBLEM = "dialogue_problem"
OWN = ("selected", "merging", "panel", "asking", "in_store")
"""What a visit remembers of one question only."""


def act(do: Callable[[Session], T]) -> T | None:
    """Do one thing in one transaction; None where it was refused, with the reason to be drawn."""
    try:
        with database().write() as session:
            return do(session)
    except Q2QError as error:
        st.session_state[PROBLEM] = str(error)
        return None


def later(do: Callable[[Session], object]) -> Callable[[], None]:
    """Return what a button calls to do one thing; see ``act``."""

    def call() -> None:
        act(do)

    return call


def draw_problem() -> None:
    """Draw why the last thing was refused, once."""
    if problem := st.session_state.pop(PROBLEM, None):
        st.error(told(problem), icon=":material/error:")


def is_busy(dialogue_id: int) -> bool:
    """Tell whether a model works at the dialogue, or what came is still to be stored."""
    with database().read() as session:
        steps = open_steps(read_events(session, dialogue_id))
        return bool(steps) or running_turns(session, dialogue_id) is not None


def show_node(node_id: int) -> None:
    """Put a question into the URL, and forget what was begun at the one before."""
    url.put("node", str(node_id))
    url.clear("edit", "edited", "view")
    for name in OWN:
        st.session_state.pop(f"dialogue_{name}", None)


def go_there(
    dialogue_id: int, node_id: int, by: By, *, is_open: bool, why: FormDraft | None = None
) -> None:
    """Show a question; where the dialogue is open, go on from it, for the reason in ``why``."""
    if is_open and why:
        decide(why, lambda session, text: go_to(session, dialogue_id, node_id, by, reason=text))
    elif is_open:
        act(lambda session: go_to(session, dialogue_id, node_id, by))
    show_node(node_id)


def reason_draft(node_id: int) -> FormDraft:
    """Return the draft of the optional reason for what is decided at a question."""
    return FormDraft(f"dialogue-{node_id}-reason")


def decide(why: FormDraft, do: Callable[[Session, str | None], T]) -> T | None:
    """Do one thing like ``act``, for the reason in ``why``, which is kept where it was refused."""
    text = st.session_state.get(why.key("text"), why.values.get("text")) or ""
    done = act(lambda session: do(session, str(text).strip() or None))
    if done is None:
        why.keep("text", text, "")  # its field may be gone by now
    else:
        why.forget()
    return done


def draw_reason(node_id: int) -> None:
    """Draw the field of the optional reason, and the key that leads into it."""
    field = reason_draft(node_id).field("text", "")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.text_input(
            t("dlg.reason"),
            key=field,
            placeholder=t("dlg.reason_placeholder"),
            label_visibility="collapsed",
            max_chars=300,
        )
        if st.button(
            t("dlg.reason_key"),
            key=opens_field(Key.REASON, "reason"),
            shortcut=Key.REASON,
            type="tertiary",
            help=t("dlg.reason_help"),
        ):
            focus(field)


def remembered(name: str) -> object:
    """Return what this visit remembers under ``name`` (of ``OWN``)."""
    return st.session_state.get(f"dialogue_{name}")


def remember(name: str, value: object) -> None:
    """Remember ``value`` under ``name`` (of ``OWN``) for this visit."""
    st.session_state[f"dialogue_{name}"] = value


def cancel_button() -> None:
    """Draw the way out of a panel (Esc), outside its form, whose keys send its one button."""
    st.button(
        t("dlg.cancel"),
        key="panel_cancel",
        type="tertiary",
        on_click=remember,
        args=("panel", None),
    )


def button(
    label: str,
    shortcut: Key | None,
    icon: str,
    do: Callable[..., None],
    *args: object,
    opens: str | None = None,
    look: Literal["primary", "secondary", "tertiary"] = "tertiary",
    help: str | None = None,
    disabled: bool = False,
) -> None:
    """Draw what can be done at the press of a key; ``opens`` names a field that it leads into."""
    st.button(
        label,
        key=opens_field(shortcut, opens) if opens and shortcut else None,
        shortcut=shortcut if shortcut not in RESERVED else None,
        icon=f":material/{icon}:",
        type=look,
        help=help,
        disabled=disabled,
        on_click=do,
        args=args,
    )
