"""Showing texts that models and people wrote: as plain text only, whatever they hold.

Nothing here passes through Markdown or HTML, so that no markup, script or remote image in a text
can act on the page.
"""

import re
import unicodedata
from typing import Final

import streamlit as st

from workbench.ui.components.i18n import t

SCROLL_PX: Final = 320
"""Height of the box in which a long text scrolls."""
LONG_CHARACTERS: Final = 1_400
MOST_CHARACTERS: Final = 20_000
"""What is drawn of one text; the rest is in the download."""

_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~:$&])")
_IMAGE: Final = re.compile(r"!\[")
_ADDRESS: Final = re.compile(r"(?i)https?:(?=//)|www(?=\.)|(?<=[\w.+-])@(?=[\w-])")
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def one_line(text: str, most: int = 120) -> str:
    """Return ``text`` on one line of at most ``most`` characters, without invisible characters.

    Marks that turn the direction of writing are among those: in a label they would turn the words
    of the page as well.
    """
    kept = text[: most * 4]
    kept = "".join(" " if unicodedata.category(c) in _INVISIBLE else c for c in kept)
    line = " ".join(kept.split())
    return line if len(line) <= most and len(text) <= most * 4 else f"{line[: most - 1].rstrip()}…"


def escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it letter by letter; for labels."""
    return _letters(one_line(text, 400))


def escaped_lines(text: str) -> str:
    """Return all of ``text`` so that Markdown shows it letter by letter, its lines kept."""
    kept = "".join(
        c if c == "\n" or unicodedata.category(c) not in _INVISIBLE else " " for c in text
    )
    return _letters(kept)


def _letters(text: str) -> str:
    # Bare addresses become links after escapes are read: a joiner, which nobody sees, splits them.
    return _MARKDOWN.sub(r"\\\1", _ADDRESS.sub("\\g<0>\u2060", text))


def show_text(text: str, *, scroll: bool = True, most: int = MOST_CHARACTERS) -> None:
    """Draw ``text`` plainly, its lines kept; a long one scrolls in a box of its own."""
    if not text.strip():
        st.caption(t("text.empty"))
        return
    shown = text[:most]
    if scroll and (len(shown) > LONG_CHARACTERS or shown.count("\n") > 14):
        with st.container(height=SCROLL_PX, border=False):
            st.text(shown, width="stretch")
    else:
        st.text(shown, width="stretch")
    if len(text) > most:
        st.caption(t("text.cut", shown=most, total=len(text)))


def show_marked(text: str, *, most: int = MOST_CHARACTERS) -> None:
    """Draw ``text`` as Markdown, for lists, tables and formulas: no HTML, and nothing is loaded.

    Images become links, which load nothing until they are followed; marks that turn the direction
    of writing are left out.
    """
    if not text.strip():
        st.caption(t("text.empty"))
        return
    kept = "".join(c for c in text[:most] if c == "\n" or unicodedata.category(c) not in _INVISIBLE)
    with st.container(height=SCROLL_PX if len(kept) > LONG_CHARACTERS else "content", border=False):
        st.markdown(_IMAGE.sub("!\u2060[", kept))
    if len(text) > most:
        st.caption(t("text.cut", shown=most, total=len(text)))
