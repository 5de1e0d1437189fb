"""Whole conversations written out as one text: the turns that their markup holds.

Chat templates of models (ChatML, Llama, Gemma, Zephyr, DeepSeek, harmony), plain texts that say who
speaks at the beginning of a turn (``Human: … Assistant: …``, ``### Instruction: …``), and lists of
turns as JSON, which tables hold as a text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serving.importers.json_stream import loads
from serving.importers.row_fields import is_turns
from serving.importers.turns import SPEAKERS

_BEGIN = (
    r"(?:\s|<s>|<bos>|<\|(?:begin_of_text|endoftext)\|>|<\uff5cbegin\u2581of\u2581sentence\uff5c>)*"
)
_ENDS = (
    r"<\|(?:im_end|eot_id|eom_id|end|return|endoftext|end_of_text|end_of_turn|eot)\|>"
    r"|<\|start\|>assistant|</s>|<eos>|<end_of_turn>|<\uff5cend\u2581of\u2581sentence\uff5c>"
)
_END = re.compile(rf"(?:\s|{_ENDS})+\Z")
_TOKEN = (
    r"<(?:\|(?:im_end|eot_id|end|return|endoftext|end_of_text)\||end_of_turn"
    r"|\uff5cend\u2581of\u2581sentence\uff5c)>"
)
_LAST = re.compile(rf"(?:(?<=[^\s`'\"])|\A|\s*\n\s*){_TOKEN}(?:\s|{_TOKEN})*\Z")
_ROLE = r"(?P<role>system|developer|user|human|assistant|model|bot|gpt)"


@dataclass(frozen=True, slots=True)
class _Markup:
    turn: re.Pattern[str]
    """What begins a turn; its group ``role`` is who speaks."""
    is_plain: bool = False
    """It could stand in a text of people, so it counts only where both sides speak."""


def _markup(turn: str, *, is_plain: bool = False) -> _Markup:
    flags = re.IGNORECASE if not is_plain else re.NOFLAG
    return _Markup(re.compile(turn, flags), is_plain)


_MARKUPS = (
    _markup(rf"<\|im_start\|>{_ROLE}\b[^\n]*\n?"),
    _markup(rf"<\|start_header_id\|>{_ROLE}<\|end_header_id\|>\s*"),
    _markup(rf"<start_of_turn>{_ROLE}\s*"),
    _markup(rf"<\|start\|>{_ROLE}(?:<\|channel\|>(?P<channel>\w+)[^<]*)?<\|message\|>"),
    _markup(rf"<[|\uff5c]{_ROLE}[|\uff5c]>\s*"),
    _markup(r"(?:\A|\n\n)(?P<role>Human|Assistant):(?: |(?=\n|\Z))", is_plain=True),
    _markup(r"###\s*(?P<role>Human|Assistant):\s*", is_plain=True),
    _markup(r"(?:\A|\s)(?P<role>USER|ASSISTANT):(?:\s+|\Z)", is_plain=True),
    _markup(r"(?:\A|\n)### (?P<role>Instruction|Response):\s*", is_plain=True),
)
_ALPACA = "Below is an instruction that describes a task"
_VICUNA = "A chat between a curious"
_SPEAKERS = {**SPEAKERS, "instruction": "user", "response": "assistant"}
_INST = re.compile(
    rf"{_BEGIN}\[INST\]\s*(?:<<SYS>>(?P<system>.*?)<</SYS>>)?(?P<user>.*?)\[/INST\](?P<answer>.*)",
    re.DOTALL,
)
_MAY_BEGIN = re.compile(
    rf"\s*(?:<[|\uff5csb]|\[|Human:|USER:|###\s*(?:Instruction|Human)|{_ALPACA}|{_VICUNA})"
)


def turns_of(text: str) -> list[dict[str, Any]] | None:
    """Return the turns of a conversation written out as ``text``; None where it is none.

    What ends turns is taken off; the assistant's last turn is left out where it is yet to be
    written.
    """
    if not _MAY_BEGIN.match(text):
        return None
    if text.lstrip().startswith(("[{", "[ {")):
        return _from_json(text)
    if text.lstrip().startswith(("[INST]", "<s>")) and (turns := _instructed(text)):
        return turns
    for markup in _MARKUPS:
        found = list(markup.turn.finditer(text))
        before = text[: found[0].start()] if found else text
        if not found or not _is_begin(markup, before):
            continue
        turns = list(_turns(text, found))
        if markup.is_plain and not (turns[0]["role"] == "user" and len(found) > 1):
            continue
        if turns[-1]["role"] == "assistant" and not turns[-1]["content"]:
            turns.pop()
        system = re.sub(_BEGIN, "", before, count=1).strip()
        is_told = system and not before.startswith(_ALPACA)
        return [{"role": "system", "content": system}, *turns] if is_told else turns
    return None


def is_conversation(value: Any) -> bool:
    """Tell whether a value is the turns of a chat, as a list or written out as one text."""
    return turns_of(value) is not None if isinstance(value, str) else is_turns(value)


def without_end(text: str) -> str:
    """Return a text of the assistant without the tokens that end its turn.

    One that is a word of its last sentence stays: ``it ends with <|im_end|>``.
    """
    return _LAST.sub("", text) if text.rstrip().endswith(">") else text


def _from_json(text: str) -> list[dict[str, Any]] | None:
    try:
        found = loads(text)
    except (ValueError, RecursionError):
        return None
    return found if is_turns(found) and all(is_turns(one) for one in found) else None


def _is_begin(markup: _Markup, before: str) -> bool:
    """Tell whether nothing, or what opens a prompt, stands before the first turn."""
    if re.fullmatch(_BEGIN, before):
        return True
    if markup.is_plain:
        return before.startswith((_ALPACA, _VICUNA))
    return before.lstrip().startswith("<\uff5cbegin")  # DeepSeek writes its system text there


def _turns(text: str, found: list[re.Match[str]]) -> Iterator[dict[str, Any]]:
    ends = [one.start() for one in found[1:]] + [len(text)]
    for one, end in zip(found, ends, strict=True):
        role = one["role"].casefold()
        said = _END.sub("", text[one.end() : end]).strip()
        said = said.replace("\n### Input:\n", "\n")
        turn = {"role": _SPEAKERS.get(role, role), "content": said}
        channel = one.groupdict().get("channel")
        yield turn | ({"channel": channel} if channel else {})


def _instructed(text: str) -> list[dict[str, Any]] | None:
    """Return the turns of a prompt of Llama 2 and Mistral; several questions stay several."""
    found = [m for part in re.split(r"(?=\[INST\])", text)[1:] if (m := _INST.match(part))]
    turns: list[dict[str, Any]] = []
    for one in found:
        for role, group in (("system", "system"), ("user", "user"), ("assistant", "answer")):
            said = _END.sub("", (one[group] or "").strip().removesuffix("<s>")).strip()
            if said:
                turns.append({"role": role, "content": said})
    return turns or None
