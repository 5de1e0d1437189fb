"""Turns of a chat: a question and its answer, as lists of turns or written out as one text.

Lists in the shapes of ShareGPT, ChatML, TRL and harmony; texts in chat templates of models (ChatML,
Llama, Gemma, Zephyr, DeepSeek, harmony), plain texts that say who speaks at the beginning of a turn
(``Human: … Assistant: …``, ``### Instruction: …``), and lists as JSON, which tables hold as a text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.importers.documents import loads
from serving.importers.fields import FIELDS, is_turns, plain_name
from serving.importers.parsed_row import NOT_TRAINED, LeftOut, Refused, WrittenText, kind_of

SPEAKERS = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "reasoning": "reasoning",
    "thinking": "reasoning",
    "thought": "reasoning",
}
"""What the files call who speaks; ``reasoning``: the assistant, to itself."""
_CHANNELS = {"analysis": "reasoning", "final": "assistant"}
_DETAILS = ("reasoning_details", "thinking_blocks")
_REASONING = tuple(name for name in FIELDS["reasoning"] if name not in _DETAILS)
_USUAL_LENGTH = 2
"""A speaker and a text; most turns have no more."""
_THOUGHTS = frozenset(FIELDS["reasoning"])
_INNER = ("thinking", "reasoning", "thought", "text", "content", "summary")
"""Where a part of a turn has its text."""
_SPEAKERS = ("system", "user", "reasoning", "assistant")
_CALLS = ("tool_calls", "function_call")
_MASKS = ("weight", "loss_weight", "loss", "train", "trainable")
"""What says of a turn that it is not to be learned, by 0 or false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnKeys:
    """How a file writes its turns, where it is not as everybody else does."""

    speaker: Sequence[str] = ("role", "from")
    text: Sequence[str] = ("content", "value")
    speakers: Mapping[str, str] = field(default_factory=lambda: SPEAKERS)


USUAL = TurnKeys()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurns:
    """A conversation of one question and at most one answer."""

    system: str | None = None
    user: str | None = None
    answer: WrittenText | None = None
    n_greetings: int = 0
    """Turns of the assistant before any question, which answer nothing."""
    unused: tuple[str, ...] = ()
    """What its turns hold beside who says what, as names of fields."""


@dataclass(frozen=True, slots=True)
class _Turn:
    speaker: str
    text: str | None
    reasoning: str | None = None
    is_off: bool = False
    """It is not to be learned."""


def read_turns(value: Any, name: str, keys: TurnKeys = USUAL) -> ChatTurns:
    """Return what the turns in the field ``name`` say.

    Raises:
        Refused: They are not one question with at most one answer, or hold more than texts.
        LeftOut: The answer is not to be learned.
    """
    given = [value] if isinstance(value, dict) else value
    if not isinstance(given, (list, tuple)):
        raise Refused(name, f"holds {kind_of(given)}; give a list of turns.")
    unused: dict[str, None] = {}
    turns = [one for turn in given if (one := _turn(turn, name, keys, unused)) is not None]
    first = next((place for place, one in enumerate(turns) if one.speaker == "user"), 0)
    spoken = [one for one in turns[:first] if one.speaker == "system"] + turns[first:]
    texts = {speaker: [one for one in spoken if one.speaker == speaker] for speaker in _SPEAKERS}
    if any(len(texts[speaker]) > 1 for speaker in ("user", "assistant")):
        raise Refused(
            name,
            f"holds {len(given)} turns; a row is one question with one answer. Split it into rows,"
            " with what was said before in the question's context.",
        )
    if any(one.is_off for one in texts["assistant"]):
        raise LeftOut(NOT_TRAINED)
    return ChatTurns(
        system=_text(texts["system"]),
        user=_text(texts["user"]),
        answer=_answer(texts["reasoning"], texts["assistant"], name),
        n_greetings=len(turns) - len(spoken),
        unused=tuple(unused),
    )


def _text(turns: Sequence[_Turn]) -> str | None:
    return "\n\n".join(filter(None, (one.text for one in turns))) or None


def _answer(thoughts: Sequence[_Turn], answers: Sequence[_Turn], name: str) -> WrittenText | None:
    if not answers and not thoughts:
        return None
    if not answers:
        raise Refused(name, "holds a reasoning and no answer after it; add the answer.")
    extras = answers[0].reasoning
    if thoughts and extras:
        raise Refused(name, "holds two reasonings for one answer; leave one.")
    return WrittenText(answers[0].text or "", name, extras or _text(thoughts))


def _turn(turn: Any, name: str, keys: TurnKeys, unused: dict[str, None]) -> _Turn | None:
    """Return a turn; None for a system turn that says nothing."""
    if not isinstance(turn, dict):
        raise Refused(name, f"holds {kind_of(turn)} in place of a turn; give speaker and text.")
    role = next((turn[key] for key in keys.speaker if turn.get(key) is not None), None)
    speaker = keys.speakers.get(str(role)) or keys.speakers.get(str(role).casefold())
    if role is None:
        raise Refused(name, "holds a turn without a speaker; give speaker and text.")
    if speaker is None:
        raise Refused(name, f"holds a turn of {role!r}; only system, user and assistant are taken.")
    if any(turn.get(key) for key in _CALLS):
        raise Refused(name, "holds a turn that calls tools, which is no answer; remove the row.")
    text, reasoning = _texts(turn, role, name, keys)
    if channel := turn.get("channel"):
        speaker = _CHANNELS.get(str(channel), "") if speaker == "assistant" else speaker
    if not speaker:
        raise Refused(name, f"holds a message on the channel {channel!r}; remove the row.")
    if len(turn) > _USUAL_LENGTH:
        known = {*keys.speaker, *keys.text, *_MASKS, *_CALLS, "channel"}
        unused.update(
            (f"{name}[].{key}", None)
            for key, one in turn.items()
            if key not in known and one and not (plain_name(key) in _THOUGHTS and inner_text(one))
        )
    if text is None and speaker == "system":
        return None
    if text is None:
        raise Refused(name, f"holds a turn of {role!r} without a text; add it.")
    is_off = len(turn) > _USUAL_LENGTH and any(_is_off(turn.get(key)) for key in _MASKS)
    return _Turn(speaker, text, reasoning, is_off)


def _is_off(value: Any) -> bool:
    return value is not None and value in (0, False, "0", "false")


def _texts(
    turn: Mapping[str, Any], role: Any, name: str, keys: TurnKeys
) -> tuple[str | None, str | None]:
    """Return what a turn says, and the reasoning that stands beside it."""
    content = next((turn[key] for key in keys.text if turn.get(key) is not None), None)
    thoughts = _thoughts(turn, keys) if len(turn) > _USUAL_LENGTH else []
    text: str | None = None
    if isinstance(content, str):
        text = content.strip() or None
    elif isinstance(content, (list, tuple)):
        parts = [_part(one, role, name) for one in content]
        text = "\n".join(said for said, is_thought in parts if not is_thought).strip() or None
        thoughts += [said.strip() for said, is_thought in parts if is_thought and said.strip()]
    elif content is not None:
        raise Refused(name, f"holds a turn of {role!r} without a text; add it.")
    distinct = list(dict.fromkeys(thoughts))
    return text, "\n\n".join(distinct) or None


def _thoughts(turn: Mapping[str, Any], keys: TurnKeys) -> list[str]:
    """Return the reasonings that stand in fields of a turn beside its text."""
    extras = {plain_name(key): value for key, value in turn.items() if key not in keys.text}
    found = [inner_text(extras[key]) for key in _REASONING if key in extras]
    for key in _DETAILS:  # what another field has as one text
        if not any(found):
            found.append(inner_text(extras.get(key)))
    return list(filter(None, found))


def _part(part: Any, role: Any, name: str) -> tuple[str, bool]:
    """Return the text of a part of a turn, and whether it is reasoning."""
    if isinstance(part, str):
        return part, False
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("thinking", "reasoning", "thought"):
        return inner_text(part), True
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return part["text"], False
    raise Refused(
        name,
        f"holds a turn of {role!r} without a text: a part of it is {kind or kind_of(part)!r};"
        " remove the row.",
    )


def inner_text(value: Any) -> str:
    """Return the text of a reasoning: a text, a part of a turn, or a list of them; else empty."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (list, tuple)):
        return "\n".join(filter(None, map(inner_text, value)))
    if not isinstance(value, dict):
        return ""
    inner = (inner_text(value[key]) for key in _INNER if key in value)
    return "\n".join(dict.fromkeys(filter(None, inner)))


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


_TEMPLATES = tuple(
    re.compile(turn, re.IGNORECASE)
    for turn in (
        rf"<\|im_start\|>{_ROLE}\b[^\n]*\n?",
        rf"<\|start_header_id\|>{_ROLE}<\|end_header_id\|>\s*",
        rf"<start_of_turn>{_ROLE}\s*",
        rf"<\|start\|>{_ROLE}(?:<\|channel\|>(?P<channel>\w+)[^<]*)?<\|message\|>",
        rf"<[|\uff5c]{_ROLE}[|\uff5c]>\s*",
    )
)
"""What begins a turn in the templates of models; the group ``role`` is who speaks."""
_PLAIN = tuple(
    map(
        re.compile,
        (
            r"(?:\A|\n\n)(?P<role>Human|Assistant):(?: |(?=\n|\Z))",
            r"###\s*(?P<role>Human|Assistant):\s*",
            r"(?:\A|\s)(?P<role>USER|ASSISTANT):(?:\s+|\Z)",
            r"(?:\A|\n)### (?P<role>Instruction|Response):\s*",
        ),
    )
)
"""The same where it could stand in a text of people, so that it counts only if both speak."""
_ALPACA = "Below is an instruction that describes a task"
_VICUNA = "A chat between a curious"
_WRITTEN_SPEAKERS = {**SPEAKERS, "instruction": "user", "response": "assistant"}
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
    for pattern in (*_TEMPLATES, *_PLAIN):
        found = list(pattern.finditer(text))
        is_plain = pattern in _PLAIN
        before = text[: found[0].start()] if found else text
        if not found or not _is_begin(before, is_plain=is_plain):
            continue
        turns = list(_turns(text, found))
        if is_plain and not (turns[0]["role"] == "user" and len(found) > 1):
            continue
        if turns[-1]["role"] == "assistant" and not turns[-1]["content"]:
            turns.pop()
        system = re.sub(_BEGIN, "", before, count=1).strip()
        has_system = system and not before.startswith(_ALPACA)
        return [{"role": "system", "content": system}, *turns] if has_system else turns
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


def _is_begin(before: str, *, is_plain: bool) -> bool:
    """Tell whether nothing, or what opens a prompt, stands before the first turn."""
    if re.fullmatch(_BEGIN, before):
        return True
    if is_plain:
        return before.startswith((_ALPACA, _VICUNA))
    return before.lstrip().startswith("<\uff5cbegin")  # DeepSeek writes its system text there


def _turns(text: str, found: list[re.Match[str]]) -> Iterator[dict[str, Any]]:
    ends = [one.start() for one in found[1:]] + [len(text)]
    for one, end in zip(found, ends, strict=True):
        role = one["role"].casefold()
        said = _END.sub("", text[one.end() : end]).strip()
        said = said.replace("\n### Input:\n", "\n")
        turn = {"role": _WRITTEN_SPEAKERS.get(role, role), "content": said}
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
