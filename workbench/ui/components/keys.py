"""The one table of keys outside dialogues: what each means, on every page; ``?`` opens it.

A dialogue has keys of its own, which its buttons name.
"""

from collections.abc import Mapping
from typing import Final

import streamlit as st

from workbench.ui.components.i18n import t

NEW: Final = "A"
KEYS: Final[Mapping[str, str]] = {
    NEW: "add",
    "Y": "ok",
    "N": "not_ok",
    "←": "left",
    "→": "right",
    "T": "tie",
    "B": "both_bad",
    "1 – 5": "value",
    "Enter": "submit",
    "Backspace": "back",
    "S": "skip",
    "U": "undo",
    "F": "aside",
    "G": "tags",
    "C": "note",
    "D": "marked",
    "V": "review",
    "E": "edit",
    "Shift+E": "edit_right",
    "M": "merge",
    "W": "write",
    "R": "rate",
    "Ctrl+Enter": "save",
    "/": "search",
    "Esc": "leave",
    "?": "keys",
}
"""Key → the one thing that it means (``keys.NAME`` among the texts)."""


def draw_keys() -> None:
    """Draw the table, folded; ``search_box.js`` opens it at the press of ``?``."""
    with st.popover(t("shell.keys"), icon=":material/keyboard:", type="tertiary", key="shell_keys"):
        rows = "".join(f"| **{key}** | {t(f'keys.{name}')} |\n" for key, name in KEYS.items())
        st.markdown(f"| | |\n|---|---|\n{rows}\n\n{t('keys.dialogues')}")
