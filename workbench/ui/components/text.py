"""Showing texts that models and people wrote, as plain text only, and what differs between two.

Nothing here passes through HTML, and through Markdown only letter by letter, so that no markup,
script or remote image in a text can act on the page.
"""

import difflib
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Final, Literal

import streamlit as st

from db.errors import Q2QError
from serving.words import EMOJI, LETTER, MARKS
from workbench.ui.components.i18n import t, translated

SCROLL_PX: Final = 320
"""Height of the box in which a long text scrolls."""
LONG_CHARACTERS: Final = 1_400
MOST_CHARACTERS: Final = 20_000
"""What is drawn of one text; the rest is in the download."""
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~:$&])")
_CODE: Final = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_IMAGE: Final = re.compile(r"!\[")
_ADDRESS: Final = re.compile(r"(?i)https?:(?=//)|www(?=\.)|(?<=[\w.+-])@(?=[\w-])")
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
Change = Literal["same", "out", "in"]
_TOKENS: Final = re.compile(f"\\n|[^\\S\\n]+|(?:{LETTER}|\\d|['’])+|{EMOJI}|.[{MARKS}]*")
"""Lines, blanks, words; a letter of scripts without spaces, such as Japanese, is one of its own."""
MAX_COMPARED: Final = 6_000
"""Longer texts are shown as they are: comparing them would take seconds."""


def one_line(text: str, most: int = 120) -> str:
    """Return ``text`` on one line of at most ``most`` characters, without invisible characters.

    Marks that turn the direction of writing are among those: in a label they would turn the words
    of the page as well.
    """
    visible = text[: most * 4]
    visible = "".join(" " if unicodedata.category(c) in _INVISIBLE else c for c in visible)
    line = " ".join(visible.split())
    return line if len(line) <= most and len(text) <= most * 4 else f"{line[: most - 1].rstrip()}…"


def escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it letter by letter; for labels."""
    return _letters(one_line(text, 400))


def escaped_lines(text: str) -> str:
    """Return all of ``text`` so that Markdown shows it letter by letter, its lines kept."""
    visible = "".join(
        c if c == "\n" or unicodedata.category(c) not in _INVISIBLE else " " for c in text
    )
    return _letters(visible)


def told(message: str | Q2QError, most: int = 400) -> str:
    """Return what a lower layer says, in the language of the visit, for Markdown.

    What it puts between backticks, e.g. a command to type, is shown as code; all else letter by
    letter.
    """
    parts = _CODE.split(one_line(translated(message), most))
    return "".join(f"`{part}`" if at % 2 else _letters(part) for at, part in enumerate(parts))


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
    visible = "".join(
        c for c in text[:most] if c == "\n" or unicodedata.category(c) not in _INVISIBLE
    )
    with st.container(
        height=SCROLL_PX if len(visible) > LONG_CHARACTERS else "content", border=False
    ):
        st.markdown(_IMAGE.sub("!\u2060[", visible))
    if len(text) > most:
        st.caption(t("text.cut", shown=most, total=len(text)))


def word_diff(before: str, after: str, most: int = MAX_COMPARED) -> Iterator[tuple[Change, str]]:
    """Yield runs of words in reading order; what was taken out comes before what replaces it.

    Where one of the texts has more than ``most`` words, all of ``after`` is one run.
    """
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    if len(old) > most or len(new) > most:
        yield ("same", after)
        return
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            yield ("same", "".join(new[j1:j2]))
            continue
        if i2 > i1:
            yield ("out", "".join(old[i1:i2]))
        if j2 > j1:
            yield ("in", "".join(new[j1:j2]))


def show_diff(before: str, after: str) -> None:
    """Draw ``after`` with what changed since ``before`` marked by colour and by a line through."""
    st.markdown(_marked(word_diff(before, after), "~~"))


def marked_sides(before: str, after: str, most: int) -> tuple[str, str] | None:
    """Return both texts as Markdown, in each what the other has not marked by colour.

    None where one of them has more than ``most`` words, which would take too long to compare.
    """
    if max(len(_TOKENS.findall(text)) for text in (before, after)) > most:
        return None
    runs = list(word_diff(before, after, most))
    old = _marked(_joined([run for run in runs if run[0] != "in"]), "")
    new = _marked(_joined([run for run in runs if run[0] != "out"]), "")
    return old, new


def _joined(runs: list[tuple[Change, str]]) -> list[tuple[Change, str]]:
    """Return the runs of one side, words that changed joined over the blanks between them."""
    joined: list[tuple[Change, str]] = []
    for place, (change, run) in enumerate(runs):
        is_last = place + 1 == len(runs)
        if joined and change == "same" and not is_last and not run.strip() and "\n" not in run:
            change = joined[-1][0]
        if joined and joined[-1][0] == change:
            joined[-1] = change, joined[-1][1] + run
        else:
            joined.append((change, run))
    return joined


def _marked(runs: Iterable[tuple[Change, str]], through: str) -> str:
    """Return runs as Markdown that shows them letter by letter, with colour behind the changes.

    Args:
        runs: In reading order.
        through: Sign on both sides of what was taken out.
    """
    parts = []
    for change, run in runs:
        for number, line in enumerate(run.split("\n")):
            if number:
                parts.append("  \n")
            if not line.strip():
                parts.append(line)
                continue
            lead, trail = line[: len(line) - len(line.lstrip())], line[len(line.rstrip()) :]
            shown = escaped_lines(line.strip())
            if change == "out":
                shown = f":red-background[{through}{shown}{through}]"
            elif change == "in":
                shown = f":green-background[{shown}]"
            parts.append(f"{lead}{shown}{trail}")
    return "".join(parts)


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return ``wanted``, or with the first number behind it that makes it a new name."""
    names = itertools.chain([wanted], (f"{wanted}-{n}" for n in itertools.count(2)))
    return next(name for name in names if name not in taken)
