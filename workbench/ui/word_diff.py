"""Two texts word by word: what was taken out and what came in."""

import difflib
import re
from collections.abc import Iterator
from typing import Final, Literal

import streamlit as st

from workbench.ui.text import escaped_lines

Change = Literal["same", "out", "in"]

_WORDS: Final = re.compile(r"\n|[^\S\n]+|[A-Za-z0-9À-ɏ'’]+|.")
"""Lines, blanks, Latin words; any other letter, such as a Japanese one, is a word of its own."""
MOST_WORDS: Final = 6_000
"""Longer texts are shown as they are: comparing them would take seconds."""


def word_diff(before: str, after: str) -> Iterator[tuple[Change, str]]:
    """Yield runs of words in reading order; what was taken out comes before what replaces it."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if len(old) > MOST_WORDS or len(new) > MOST_WORDS:
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
    parts = []
    for change, run in word_diff(before, after):
        for number, line in enumerate(run.split("\n")):
            if number:
                parts.append("  \n")
            if not line.strip():
                parts.append(line)
                continue
            lead, trail = line[: len(line) - len(line.lstrip())], line[len(line.rstrip()) :]
            words = escaped_lines(line.strip())
            if change == "out":
                words = f":red-background[~~{words}~~]"
            elif change == "in":
                words = f":green-background[{words}]"
            parts.append(f"{lead}{words}{trail}")
    st.markdown("".join(parts))
