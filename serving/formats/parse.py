"""Splits what a model wrote into reasoning and response, or into the items of a list.

Lists are read with good will: whole JSON, cut JSON, or lines of plain text. Only complete items
count: the last string of a cut list is left out.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from serving.formats.definitions import TASKS, FormatDefinition, Task
from serving.formats.reasoning_markup import SplitText, split_reasoning
from serving.formats.sanitise import TURN_CONTROL, structure_pattern

_PAIRED = {
    "<s>": "</s>",
    "<think>": "</think>",
    "[INST]": "[/INST]",
    "[THINK]": "[/THINK]",
    "<<SYS>>": "<</SYS>>",
}
_ALONE_ON_LINE = ("</s>", "<think>", "</think>")
"""At the start of a text, with other words on its line, such a token is one of the words."""
_PARTIAL_TAG_CHARS = 3
"""An unfinished tag at the end of a cut text is left out from this length on."""


@dataclass(frozen=True, slots=True)
class ParsedCompletion:
    """The parts of a completion; None where a part is not there or is empty."""

    reasoning: str | None
    response: str | None
    problem: str | None
    """What is wrong, in words; None where nothing is. The text itself is kept elsewhere."""


def parse_completion(
    form: FormatDefinition,
    task: Task,
    text: str,
    finish_reason: str | None,
    *,
    reasoning: str | None = None,
    opened: bool = False,
) -> ParsedCompletion:
    """Return the parts that ``text``, written for ``task``, holds.

    What a model thought in markup of its own (``<think>``) is the reasoning, unless the format has
    another place for the one that was asked for.

    Args:
        form: The format of the prompt.
        task: What was asked for.
        text: The completion as the engine gave it.
        finish_reason: ``length`` where the engine cut it.
        reasoning: What the engine gave beside the text as its reasoning.
        opened: The prompt ended with a tag that opens a reasoning.
    """
    cut = finish_reason == "length"
    split = split_reasoning(text, reasoning=reasoning, opened=opened)
    if "reasoning" not in TASKS[task].written:
        return _parse_response(form, split, cut)
    found = _parse_reasoning(form, task, split.answer or "", cut)
    if split.reasoning is None:
        return found if split.problem is None else replace(found, problem=split.problem)
    if task == "whole":
        return _parse_both(form, split, found, cut)
    thought, _ = _part(form, split.reasoning, cut)
    if found.reasoning is not None or thought is None:
        return found
    return ParsedCompletion(thought, None, split.problem if split.is_unclosed else None)


def _parse_reasoning(form: FormatDefinition, task: Task, text: str, cut: bool) -> ParsedCompletion:
    before, tag, after = _body(form, text).partition(form.response_tag)
    reasoning, extra_before = _part(form, before, cut and not tag)
    response, extra_after = _part(form, after, cut)
    problem = None
    if reasoning is None:
        problem = "empty reasoning"
    elif task == "whole" and not tag:
        problem = "cut off before the response tag" if cut else "no response tag"
    elif task == "whole" and response is None:
        problem = "empty response"
    elif extra := extra_before or extra_after:
        problem = f"tag repeated: {extra}"
    return ParsedCompletion(reasoning, response, problem)


def _parse_both(
    form: FormatDefinition, split: SplitText, found: ParsedCompletion, cut: bool
) -> ParsedCompletion:
    """Return a reasoning and an answer of which the first may stand in markup of the model's."""
    if found.reasoning is not None and found.response is not None:
        return found
    thought, _ = _part(form, split.reasoning or "", cut)
    answer = _parse_response(form, replace(split, reasoning=None), cut)
    return ParsedCompletion(thought, answer.response, answer.problem)


def _parse_response(form: FormatDefinition, split: SplitText, cut: bool) -> ParsedCompletion:
    body = _body(form, split.answer or "").removeprefix(form.response_tag)
    response, extra = _part(form, body, cut)
    thought, _ = _part(form, split.reasoning or "", cut)
    problem = split.problem or ("empty response" if response is None else None)
    if problem is None and extra is not None:
        problem = f"tag repeated: {extra}"
    return ParsedCompletion(thought, response, problem)


def _body(form: FormatDefinition, text: str) -> str:
    """Return ``text`` without control text around it, nor the tag that its prompt ended with."""
    body = _strip_control(form, text)
    for tag in form.tags:
        if tag != form.response_tag and body.startswith(tag):
            body = _strip_control(form, body.removeprefix(tag))
    return body


def _part(form: FormatDefinition, text: str, cut: bool) -> tuple[str | None, str | None]:
    """Return one part up to the next tag, and that tag where more text follows it."""
    found = _tags(form.tags).search(text)
    part = text[: found.start()] if found else text
    if cut and found is None:
        part = _without_partial_tag(form, part)
    repeated = found.group() if found and text[found.end() :].strip() else None
    return _strip_control(form, part) or None, repeated


def _without_partial_tag(form: FormatDefinition, text: str) -> str:
    for tag in form.tags:
        for length in range(len(tag) - 1, _PARTIAL_TAG_CHARS - 1, -1):
            if text.endswith(tag[:length]):
                return text[:-length]
    return text


def _strip_control(form: FormatDefinition, text: str) -> str:
    """Strip white space and control tokens that an engine left around ``text``.

    A text may itself speak of such a token or hold one as HTML (``use <s>old</s>``); that stays.
    """
    at_start, at_end = _control(form.tags)
    text = text.strip()
    while True:
        if (found := at_start.match(text)) and _is_left_at_start(text, found.group()):
            text = text[found.end() :].strip()
        elif (found := at_end.search(text)) and _is_left_at_end(text, found.group(), at_end):
            text = text[: found.start()].strip()
        else:
            return text


def _is_left_at_start(text: str, token: str) -> bool:
    """Tell whether ``token``, which begins ``text``, was left there and is no word of the text."""
    end = next((end for start, end in _pairs(text, token) if start == 0), None)
    if end is not None:
        return end == len(text)
    rest = text[len(token) :]
    return token not in _ALONE_ON_LINE or not rest or rest.startswith("\n")


def _is_left_at_end(text: str, token: str, at_end: re.Pattern[str]) -> bool:
    """Tell whether ``token``, which ends ``text``, was left there and is no word of the text."""
    start = next((start for start, end in _pairs(text, token) if end == len(text)), None)
    if start is not None:
        return start == 0
    before = text[: -len(token)]
    if token in _PAIRED:  # it opens a text; at an end it is the next one's, after another token
        return at_end.search(before.rstrip()) is not None
    return token != "</think>" or not before.endswith(" ")


def _pairs(text: str, token: str) -> list[tuple[int, int]]:
    """Return start and end of each stretch of ``text`` between ``token`` and its counterpart."""
    opening = token.replace("/", "", 1)
    closing = _PAIRED.get(opening)
    if closing is None:
        return []
    opened: list[int] = []
    pairs: list[tuple[int, int]] = []
    for found in re.finditer(f"{re.escape(opening)}|{re.escape(closing)}", text):
        if found.group() == opening:
            opened.append(found.start())
        elif opened:
            pairs.append((opened.pop(), found.end()))
    return pairs


@lru_cache(maxsize=64)
def _tags(tags: tuple[str, ...]) -> re.Pattern[str]:
    return structure_pattern(tags)


@lru_cache(maxsize=64)
def _control(tags: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds a control token at the start and at the end; a tag is not one."""
    control = f"(?!{_tags(tags).pattern})(?:{'|'.join(TURN_CONTROL)})"
    return re.compile(control), re.compile(rf"{control}\Z")


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
    is_closed = place < len(text)
    return ReadList(tuple(items[:MAX_ITEMS]), None if is_closed else "the list was cut off")


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
