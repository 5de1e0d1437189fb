"""Reasoning that stands in one text with its answer: told apart, whichever markup holds it.

Known are tags such as ``<think>``, the markers of the models that write others, and the channels of
harmony, the format of gpt-oss. A text that only speaks of such a tag (``use the <think> tag``) is
left as it is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from serving.formats.sanitise import TURN_CONTROL

ANALYSIS, FINAL = "analysis", "final"
"""Channels whose texts are a reasoning and an answer."""
_MESSAGE = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w+)(?P<more>[^<]*(?:<\|constrain\|>[^<]*)?)<\|message\|>"
    r"(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_BETWEEN = re.compile(r"<\|start\|>\s*assistant|<\|(?:end|return)\|>|\s+")
_WITHOUT_TOKENS = re.compile(
    r"analysis(?=[^\s:])(?P<analysis>.*?)assistantfinal(?P<final>.*)", re.DOTALL
)
"""What is left where a server wrote the text without its special tokens."""


@dataclass(frozen=True, slots=True)
class HarmonyMessages:
    """The messages of one turn, by channel."""

    analysis: tuple[str, ...]
    final: tuple[str, ...]
    problem: str | None = None
    """What else the text holds, in words."""


def harmony_messages(text: str) -> HarmonyMessages | None:
    """Return the messages of a text that is written in harmony; None where it is not."""
    text = text.strip()
    if text.startswith("analysis") and (found := _WITHOUT_TOKENS.fullmatch(text)):
        return HarmonyMessages((found["analysis"],), (found["final"],))
    if not text.startswith(("<|channel|>", "<|start|>assistant")):
        return None
    messages = list(_MESSAGE.finditer(text))
    if not messages:
        return None
    by_channel = {
        channel: tuple(one["text"] for one in messages if one["channel"] == channel)
        for channel in (ANALYSIS, FINAL)
    }
    others = [one["channel"] for one in messages if one["channel"] not in by_channel]
    rest = _BETWEEN.sub("", _MESSAGE.sub("", text))
    problem = f"holds a message on the channel {others[0]!r}" if others else None
    if rest and problem is None:
        problem = "holds text outside its channels"
    return HarmonyMessages(by_channel[ANALYSIS], by_channel[FINAL], problem)


NO_ANSWER = "holds no answer after its reasoning"
UNCLOSED = "holds a reasoning that is never closed, so no answer"
SECOND_REASONING = "holds a reasoning of its own beside another one that is given for it"

_NAMES = (
    "think|thinking|thoughts?|reasoning|reason|rationale|scratchpad|chain_of_thought|cot"
    "|seed:think|antthinking|analysis|(?:thought|thinking|reasoning)_process"
    "|inner_thoughts?|(?:inner|internal)_monologue"
)
_SPECIAL = (
    ("\\[", r"THINK\]", r"/THINK\]"),  # Mistral
    ("<", r"\|begin_of_thought\|>", r"\|end_of_thought\|>"),  # Sky-T1, OpenThoughts
    ("<", r"\|START_THINKING\|>", r"\|END_THINKING\|>"),  # Cohere
    ("\u25c1", "think\u25b7", "/think\u25b7"),  # Kimi-VL
    ("<", r"\|channel>thought\b", r"channel\|>"),  # Gemma
    ("<", r"unused94>thought\b", "unused95>"),  # MedGemma
)
"""First character, and what follows it in an opening and in a closing tag."""
_MARKERS = "|".join(
    f"(?<={first})(?:(?P<o{number}>{opening})|(?P<c{number}>{closing}))"
    for number, (first, opening, closing) in enumerate(_SPECIAL)
)
_TAG = re.compile(
    rf"[<\[\u25c1](?i:(?<=<)(?P<slash>/?)(?P<name>{_NAMES})(?:\s[^<>]{{0,80}})?>|{_MARKERS})"
)
"""It begins with its first characters, which a search looks for quickly."""
_TAG_ENDS = (">", "]", "\u25b7", "thought")
_MAY_HOLD = re.compile("[<\\[\u25c1]")
_CONTROL = re.compile(f"(?:\\s|{'|'.join(TURN_CONTROL)})*")
"""White space and what an engine leaves around a text."""
_ANSWER = re.compile(
    r"(?:<(?P<name>answer|final_answer|final|response|solution|output)>"
    r"(?P<xml>(?:(?!</(?P=name)>).)*)(?:</(?P=name)>)?"
    r"|<\|begin_of_solution\|>(?P<solution>(?:(?!<\|end_of_solution\|>).)*)(?:<\|end_of_solution\|>)?"
    r"|<\|START_RESPONSE\|>(?P<response>(?:(?!<\|END_RESPONSE\|>).)*)(?:<\|END_RESPONSE\|>)?)"
    rf"{_CONTROL.pattern}",
    re.DOTALL | re.IGNORECASE,
)
"""Around a whole answer that stands after a reasoning; its end may have been a stop string."""
_GOES_ON = re.compile(r"[ \t]+[a-z]|[,;:)]|\.(?:\s|\Z)")
"""After a tag that is a word of a sentence."""
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f\u2026\n]")
_QUOTES = "`'\"\u2018\u2019\u201c\u201d\u00ab\u00bb\u300c\u300d"
_PHRASE_WORDS = 3
"""``<think>these</think> stand around thoughts`` quotes no more words."""
_MAX_NESTING = 8


@dataclass(frozen=True, slots=True)
class SplitText:
    """A text as its reasoning and its answer; None where one is not there or empty."""

    reasoning: str | None
    answer: str | None
    problem: str | None = None
    """Why this is not all of it, in words that follow the name of the text."""
    is_unclosed: bool = False
    """The reasoning was cut: all of the text is reasoning."""


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: str
    is_opening: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of reasoning, and where its tags begin and end."""

    outer_start: int
    start: int
    end: int
    outer_end: int | None
    """None: nothing closes it."""

    @classmethod
    def of(cls, opening: _Tag | None, closing: _Tag | None, length: int) -> Self:
        """Return what is between two tags; from the start, or to the end, where one is missing."""
        first = (opening.start, opening.end) if opening else (0, 0)
        return cls(*first, *((closing.start, closing.end) if closing else (length, None)))


def split_reasoning(text: str, *, reasoning: str | None = None, opened: bool = False) -> SplitText:
    """Return the reasoning and the answer that ``text`` holds.

    Args:
        text: What a model wrote, or a file holds as a completion.
        reasoning: What stands beside it as its reasoning, such as a server's ``reasoning_content``.
        opened: The prompt ended with an opening tag, so the text begins inside the reasoning.
    """
    messages = harmony_messages(text)
    if messages is not None:
        split = SplitText(
            _joined(messages.analysis), _joined(messages.final), messages.problem or None
        )
        if split.answer is None and split.problem is None:
            split = replace(split, problem=NO_ANSWER, is_unclosed=True)
    elif opened or _MAY_HOLD.search(text):
        split = _by_tags(text, opened=opened)
    else:
        split = SplitText(None, text.strip() or None)
    given = plain_reasoning(reasoning or "")
    return split if given is None else _with_given(split, given)


def plain_reasoning(reasoning: str) -> str | None:
    """Return a reasoning without the tags around it; None where it is empty."""
    if not _MAY_HOLD.search(reasoning):
        return reasoning.strip() or None
    split = _by_tags(reasoning, opened=False)
    inner = split.reasoning if split.answer is None else None
    return inner or (None if split.problem == NO_ANSWER else reasoning.strip() or None)


def opens_reasoning(prompt: str) -> bool:
    """Tell whether ``prompt`` ends inside a reasoning, as some chat templates begin a turn."""
    end = prompt[-80:].rstrip()
    if not end.endswith(_TAG_ENDS):
        return False
    return any(found.end() == len(end) and _tag(found).is_opening for found in _TAG.finditer(end))


def without_opening(prompt: str) -> tuple[str, bool]:
    """Return ``prompt`` without a tag at its end that opens a reasoning, and whether one was there.

    Such a tag stands alone on its line, or after a token that begins a turn.
    """
    end = prompt.rstrip()
    if not end.endswith(_TAG_ENDS):
        return prompt, False
    for found in _TAG.finditer(end, max(len(end) - 80, 0)):
        before = end[: found.start()].rstrip(" \t")
        if found.end() == len(end) and _tag(found).is_opening and before.endswith(("\n", ">", "]")):
            return before.rstrip(), True
    return prompt, False


def reasoning_tag(text: str) -> str | None:
    """Return the first tag of reasoning markup that ``text`` holds, also where it is a word."""
    found = _TAG.search(text) if _MAY_HOLD.search(text) else None
    return found.group() if found else None


def _with_given(split: SplitText, given: str) -> SplitText:
    """Return a text beside which its reasoning is given."""
    if split.reasoning is not None and split.reasoning.split() != given.split():
        return replace(split, problem=SECOND_REASONING)
    answer = _without_wrapper(split.answer) if split.answer else None
    return SplitText(given, answer, split.problem if answer else NO_ANSWER, split.is_unclosed)


def _by_tags(text: str, *, opened: bool) -> SplitText:
    tags = [_tag(found) for found in _TAG.finditer(text) if not _is_quoted(text, found)]
    blocks, stray = _blocks(text, tags, opened=opened)
    if not blocks:
        return SplitText(None, text.strip() or None)
    reasoning = _joined(text[one.start : one.end] for one in blocks)
    if blocks[-1].outer_end is None:
        return SplitText(reasoning, None, UNCLOSED, is_unclosed=True)
    borders = [0, *(place for one in blocks for place in (one.outer_start, one.outer_end)), None]
    answer = _joined(text[a:b] for a, b in zip(borders[::2], borders[1::2], strict=True))
    if answer is None:
        return SplitText(reasoning, None, NO_ANSWER)
    problem = f"holds {stray} again after its reasoning" if stray else None
    return SplitText(reasoning, _without_wrapper(answer), problem)


def _blocks(text: str, tags: Sequence[_Tag], *, opened: bool) -> tuple[list[_Block], str | None]:
    """Return the stretches of reasoning, and a closing tag that none of them was opened for."""
    blocks: list[_Block] = []
    stray: str | None = None
    last = {tag.kind: place for place, tag in enumerate(tags) if not tag.is_opening}
    number = 0
    if opened and not _begins_itself(text, tags):
        number = _first_closing(text, tags)
        end = tags[number] if number < len(tags) else None
        blocks, number = [_Block.of(None, end, len(text))], number + 1
    while number < len(tags) and not (blocks and blocks[-1].outer_end is None):
        tag = tags[number]
        if tag.is_opening:
            place = _closing_of(text, tags, number) if number < last.get(tag.kind, 0) else None
            end = None if place is None else tags[place]
            if _is_block(text, tag, end, blocks):
                blocks.append(_Block.of(tag, end, len(text)))
            elif end is not None and _is_lone_word(text, tag, end):
                place = None
            number = (number if place is None else place) + 1
            continue
        if not _is_word(text, tag):
            if blocks:
                stray = stray or text[tag.start : tag.end]
            else:  # the prompt opened it
                blocks.append(_Block.of(None, tag, len(text)))
        number += 1
    return blocks, stray


def _begins_itself(text: str, tags: Sequence[_Tag]) -> bool:
    """Tell whether a text opens its reasoning though its prompt did so too."""
    return bool(tags) and tags[0].is_opening and not text[: tags[0].start].strip()


def _first_closing(text: str, tags: Sequence[_Tag]) -> int:
    """Return the number of the tag that ends a reasoning which the prompt began."""
    closing = [number for number, tag in enumerate(tags) if not tag.is_opening]
    plain = (number for number in closing if not _is_word(text, tags[number]))
    return next(plain, closing[0] if closing else len(tags))


def _closing_of(text: str, tags: Sequence[_Tag], number: int) -> int | None:
    """Return which tag closes the one at ``number``; a name that is nested counts with its own."""
    kind, depth = tags[number].kind, 0
    first: int | None = None
    word: int | None = None
    for place in range(number, len(tags)):
        tag = tags[place]
        if tag.kind != kind:
            continue
        if tag.is_opening:
            depth += 1
        elif _is_word(text, tag) and depth == 1:
            word = place if word is None else word
        else:
            depth -= 1
            first = place if first is None else first
            if depth == 0:
                return place
        if depth > _MAX_NESTING and first is not None:
            break
    return word if first is None else first


def _is_block(text: str, tag: _Tag, closing: _Tag | None, blocks: Sequence[_Block]) -> bool:
    """Tell whether an opening tag begins a reasoning: it comes first, or alone on its line."""
    before = text[(blocks[-1].outer_end or 0) if blocks else 0 : tag.start]
    if _CONTROL.fullmatch(before) is None:
        is_alone = before.rstrip(" \t").endswith("\n") and text.startswith("\n", tag.end)
        return bool(blocks) and is_alone and closing is not None and before.count("```") % 2 == 0
    if closing is None:
        return _GOES_ON.match(text, tag.end) is None
    inner = text[tag.end : closing.start]
    n_words = len(inner.split(maxsplit=_PHRASE_WORDS))
    is_phrase = 0 < n_words <= _PHRASE_WORDS and _SENTENCE_END.search(inner) is None
    return not (is_phrase and _GOES_ON.match(text, closing.end))


def _is_lone_word(text: str, tag: _Tag, closing: _Tag) -> bool:
    """Tell whether an opening tag within a line is a word; what closes lines below is another's."""
    start = text.rfind("\n", 0, tag.start) + 1
    return bool(text[start : tag.start].strip()) and "\n" in text[tag.end : closing.start]


def _is_word(text: str, tag: _Tag) -> bool:
    """Tell whether a closing tag is a word of the sentence around it."""
    before = text[max(tag.start - 2, 0) : tag.start]
    if before.endswith("\n") or _SENTENCE_END.search(before.strip(" \t")):
        return False
    if _GOES_ON.match(text, tag.end):
        return True
    return before.endswith((" ", "\t")) and bool(_CONTROL.fullmatch(text, tag.end))


def _is_quoted(text: str, found: re.Match[str]) -> bool:
    before = text[max(found.start() - 1, 0) : found.start()]
    after = text[found.end() : found.end() + 1]
    return bool(before and after) and before in _QUOTES and after in _QUOTES


def _tag(found: re.Match[str]) -> _Tag:
    name = found["name"]
    if name is not None:
        return _Tag(name.lower(), not found["slash"], *found.span())
    group = str(found.lastgroup)
    return _Tag(group[1:], group[0] == "o", *found.span())


def _joined(texts: Iterable[str]) -> str | None:
    stripped = (text.strip() for text in texts if _CONTROL.fullmatch(text) is None)
    return "\n\n".join(stripped) or None


def _without_wrapper(answer: str) -> str:
    """Return an answer without the tags that are around all of it."""
    found = _ANSWER.fullmatch(answer.strip())
    if found is None:
        return answer
    inner = next(text for text in found.group("xml", "solution", "response") if text is not None)
    return inner.strip() or answer
