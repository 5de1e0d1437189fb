"""The one table of keys: what each means, the same on every page; ``?`` opens it.

Pages bind keys by their names here, never by letters of their own (``tests/unit/test_keys.py``).
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum, unique
from typing import Final

import streamlit as st

from workbench.ui.components.i18n import t


@unique
class Key(StrEnum):
    """Keys by what they mean (``keys.NAME`` among the texts), as Streamlit calls them."""

    SEARCH = "/"
    KEYS = "?"
    LEAVE = "Esc"
    ADD = "A"
    CHOOSE = "1 – 9"
    LEFT = "Left"
    RIGHT = "Right"
    SUBMIT = "Enter"
    SAVE = "Ctrl+Enter"
    UNDO = "U"
    EDIT = "E"
    EDIT_SECOND = "Shift+E"
    WRITE = "W"
    MERGE = "M"
    TAGS = "G"
    NOTE = "C"
    OK = "Y"
    NOT_OK = "N"
    TIE = "T"
    BOTH_BAD = "B"
    BACK = "Backspace"
    SKIP = "S"
    ASIDE = "F"
    MARKED = "D"
    REVIEW = "V"
    RATE = "R"
    MERGE_BY_MODEL = "Ctrl+M"
    TAKE = "P"
    GO_ON = "Shift+P"
    PARK = "K"
    EDIT_THIRD = "Q"
    MOVES = "L"
    SAME_IN_STORE = "Shift+M"
    ARGUE = "O"
    JUDGE = "J"
    HINT = "H"
    FACT = "I"
    FORK = "Shift+F"
    REASON = "Z"
    READING = "X"
    STOP = "Shift+S"

    @property
    def meaning(self) -> str:
        """Its name in the texts and in the scripts of components."""
        return self.name.lower()

    @property
    def shown(self) -> str:
        """The key as people see it."""
        return {"Left": "←", "Right": "→"}.get(self.value, self.value)

    @property
    def in_browser(self) -> str:
        """The key as an event of the browser calls it; ``Shift+`` before it where that is held."""
        return {"Left": "ArrowLeft", "Right": "ArrowRight", "Esc": "Escape"}.get(self, self.value)


RESERVED: Final = (Key.NOTE, Key.RATE)
"""Keys that Streamlit gives to no button; ``drafts.js`` presses the one that leads into a field."""

GROUPS: Final[Mapping[str, tuple[Key, Key]]] = {
    "everywhere": (Key.SEARCH, Key.NOTE),
    "cards": (Key.OK, Key.MERGE_BY_MODEL),
    "dialogues": (Key.TAKE, Key.STOP),
}
"""The first and the last key of each part of the table."""


def digit(number: int) -> str | None:
    """Return the key that chooses what bears ``number`` (``Key.CHOOSE``); none above nine."""
    return f"{number}" if 1 <= number <= 9 else None


def for_script(keys: Iterable[Key]) -> dict[str, str]:
    """Return what a component in the browser is told: the meaning of each key."""
    return {key.in_browser: key.meaning for key in keys}


def draw_keys() -> None:
    """Draw the table, folded; ``search_box.js`` opens it at the press of ``?``."""
    with st.popover(t("shell.keys"), icon=":material/keyboard:", type="tertiary", key="shell_keys"):
        for group, (first, last) in GROUPS.items():
            keys = list(Key)[list(Key).index(first) : list(Key).index(last) + 1]
            rows = "".join(f"| **{key.shown}** | {t(f'keys.{key.meaning}')} |\n" for key in keys)
            st.markdown(f"| | {t(f'keys.in.{group}')} |\n|---|---|\n{rows}")
