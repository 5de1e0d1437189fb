"""What texts from people may hold, however they come in: by a page or by a file."""

import re

MAX_TEXT_CHARS = 200_000
"""Longest text of one field; longer ones are refused, not cut."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def plain(text: str) -> tuple[str, int]:
    """Return ``text`` without control characters and outer white space, and how many went.

    Lines end with a line feed alone; tabs stay.
    """
    if text.isprintable():  # most texts are, and a million of them is looked at
        return text.strip(), 0
    clean, n_removed = _CONTROL.subn("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return clean.strip(), n_removed


def problem_of(text: str) -> str | None:
    """Say why ``text`` cannot be stored, and what to do; None where it can."""
    if len(text) > MAX_TEXT_CHARS:
        return (
            f"has {len(text):,} characters; at most {MAX_TEXT_CHARS:,} are taken. "
            "Shorten it or split it into several rows."
        )
    half = None if text.isascii() else _SURROGATE.search(text)
    if half:
        return (
            f"holds half a character (\\u{ord(half.group()):04x}); write it in full or remove it."
        )
    return None
