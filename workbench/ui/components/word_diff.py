"""Two texts word by word: what was taken out and what came in."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import streamlit as st

from serving.words import EMOJI, LETTER, MARKS
from workbench.ui.components.text import escaped_lines

Change = Literal["same", "out", "in"]

_WORDS: Final = re.compile(f"\\n|[^\\S\\n]+|(?:{LETTER}|\\d|['’])+|{EMOJI}|.[{MARKS}]*")
"""Lines, blanks, words; a letter of scripts without spaces, such as Japanese, is one of its own."""
MOST_WORDS: Final = 6_000
"""Longer texts are shown as they are: comparing them would take seconds."""


def word_diff(before: str, after: str, most: int = MOST_WORDS) -> Iterator[tuple[Change, str]]:
    """Yield runs of words in reading order; what was taken out comes before what replaces it.

    Where one of the texts has more than ``most`` words, all of ``after`` is one run.
    """
    old, new = _WORDS.findall(before), _WORDS.findall(after)
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
    if max(len(_WORDS.findall(text)) for text in (before, after)) > most:
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
            words = escaped_lines(line.strip())
            if change == "out":
                words = f":red-background[{through}{words}{through}]"
            elif change == "in":
                words = f":green-background[{words}]"
            parts.append(f"{lead}{words}{trail}")
    return "".join(parts)
