"""Lists that models write, read with good will: whole JSON, cut JSON, or lines of plain text.

Only complete items count: the last string of a cut list is left out.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serving.formats.reasoning_markup import split_reasoning

MAX_ITEMS = 50
MAX_CHARACTERS = 500
_MARKER = re.compile(r"^\s*(?:[-*•・]|\(?\d{1,2}[.):、]|[Qq]\d{1,2}[.:])\s*")
_NUMBER = re.compile(r"^(?:[-*•・]|\(?\d{1,2}[.):、])\s+")
"""What models put before the items of a JSON list, too; "3.5 litres" is none."""
_QUESTION_END = ("?", "？", "か。")
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class ReadList:
    """The complete items of a list, and what was wrong with it."""

    items: tuple[Any, ...]
    problem: str | None
    """In words; None where the list is whole."""


def read_questions(text: str, *, cut: bool) -> ReadList:
    """Return the questions in ``text``, in their order, each once.

    Args:
        text: A completion; JSON if the server holds the model to it, else often lines.
        cut: The engine ended it at the limit of tokens.
    """
    text = split_reasoning(text).answer or ""
    found = read_json_list(text)
    if found is None:
        lines = list(_lines(text, cut=cut))
        return ReadList(_distinct(lines), "the list is no JSON" if lines else "there is no list")
    texts = (item.strip() for item in found.items if isinstance(item, str))
    questions = _distinct(_NUMBER.sub("", text) for text in texts)
    problem = found.problem or (None if questions else "the list is empty")
    return ReadList(questions, problem)


def read_json_list(text: str) -> ReadList | None:
    """Return the complete items of the first JSON list in ``text``; None where there is none.

    A list that the model wrote while it reasoned does not count.
    """
    text = split_reasoning(text).answer or ""
    start = text.find("[")
    if start < 0:
        return None
    items: list[Any] = []
    place = _skip(text, start + 1)
    while place < len(text) and text[place] != "]":
        try:
            item, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return ReadList(tuple(items), "the list was cut off") if items else None
        items.append(item)
        place = _skip(text, place)
    is_whole = place < len(text)
    return ReadList(tuple(items[:MAX_ITEMS]), None if is_whole else "the list was cut off")


def read_json_object(text: str) -> dict[str, Any] | None:
    """Return the first JSON object in ``text``; None where there is none that is whole.

    An object that the model wrote while it reasoned does not count.
    """
    text = split_reasoning(text).answer or ""
    start = text.find("{")
    if start < 0:
        return None
    try:
        found, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_questions(questions: Sequence[str]) -> str:
    """Return ``questions`` as a model is to write them."""
    return json.dumps(list(questions), ensure_ascii=False)


def _skip(text: str, place: int) -> int:
    while place < len(text) and (text[place].isspace() or text[place] == ","):
        place += 1
    return place


def _lines(text: str, *, cut: bool) -> Iterator[str]:
    lines = text.strip().splitlines()
    for line in lines[:-1] if cut else lines:
        plain = _MARKER.sub("", line).strip().strip("\"'「」“”,").strip()
        if plain.endswith(_QUESTION_END):
            yield plain


def _distinct(items: Any) -> tuple[str, ...]:
    tidy = (" ".join(item.split())[:MAX_CHARACTERS] for item in items)
    # "?", "..." and "1." ask nothing.
    return tuple(dict.fromkeys(item for item in tidy if any(map(str.isalpha, item))))[:MAX_ITEMS]
