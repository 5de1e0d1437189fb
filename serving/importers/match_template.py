"""A text taken apart by the template that it was written in."""

import re
from collections.abc import Sequence
from functools import lru_cache

from serving.formats.templates import Piece, parse_template


def match_template(template: str, text: str) -> dict[str, str] | None:
    """Return what fills the slots of ``template`` in ``text``; None where it is not written in it.

    Outer white space of the template does not matter. Each slot is as short as it can be. The time
    grows with the length of the text alone, unless the template names a field twice.
    """
    pieces = _pieces(template.strip())
    names = [piece.text for piece in pieces if piece.is_field]
    if len(set(names)) < len(names):
        match = _regex(pieces).fullmatch(text)
        return match and match.groupdict()
    return _walked(pieces, text)


def _walked(pieces: Sequence[Piece], text: str) -> dict[str, str] | None:
    """Look for the literals from left to right, each once: if any way fits, the first one does."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    place = 0
    for number, piece in enumerate(pieces, start=1):
        if piece.is_field:
            waiting.append(piece.text)
            continue
        if not waiting:
            start = place if text.startswith(piece.text, place) else -1
        elif number == len(pieces):
            start = len(text) - len(piece.text) if text.endswith(piece.text) else -1
        else:
            start = text.find(piece.text, place)
        if start < place:
            return None
        found |= _filled(waiting, text[place:start])
        place, waiting = start + len(piece.text), []
    if not waiting and place < len(text):
        return None
    return found | _filled(waiting, text[place:])


def _filled(names: Sequence[str], text: str) -> dict[str, str]:
    """Give ``text`` to the last one of slots that nothing stands between."""
    return {**dict.fromkeys(names, ""), names[-1]: text} if names else {}


@lru_cache(maxsize=512)
def _pieces(template: str) -> tuple[Piece, ...]:
    """Return the slots of a template and the literals between them, each literal whole."""
    found: list[Piece] = []
    for piece in parse_template(template):
        if found and not (piece.is_field or found[-1].is_field):
            found[-1] = Piece(found[-1].text + piece.text, is_field=False)
        else:
            found.append(piece)
    return tuple(found)


@lru_cache(maxsize=512)
def _regex(pieces: tuple[Piece, ...]) -> re.Pattern[str]:
    seen: set[str] = set()
    parts = []
    for piece in pieces:
        if not piece.is_field:
            parts.append(re.escape(piece.text))
        elif piece.text in seen:
            parts.append(f"(?P={piece.text})")
        else:
            seen.add(piece.text)
            parts.append(f"(?P<{piece.text}>.*?)")
    return re.compile("".join(parts), re.DOTALL)
