"""How texts from people are kept from being read as structure.

One rule: where a text would hold a tag of the format or a control token of the model, a space is
put after its first character (``<|reasoning|>`` becomes ``< |reasoning|>``). That is one visible
character, no normaliser removes it, and a reader sees what was meant. Only the rendering changes;
stored texts stay as they are.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from serving.formats.definitions import Piece, PromptError, PromptFields

UNSENDABLE = re.compile("[\x00-\x08\x0e-\x1f\ud800-\udfff]")
"""Control characters and lone surrogates: some vocabularies drop them, which would join what they
part. Each is shown as U+FFFD."""

REASONING_CONTROL = (r"</?think>", r"\[/?THINK\]")
"""Tokens around a reasoning: in files for other programs they stay, since those read them so."""

TURN_CONTROL = (
    *REASONING_CONTROL,
    r"<[|\uff5c][^<>|\uff5c\s]{1,40}[|\uff5c]>",  # the bars of DeepSeek are full-width
    r"\[\|[^\[\]|\s]{1,40}\|\]",  # EXAONE
    r"</?(?:s|unk|pad|bos|eos|start_of_turn|end_of_turn)>",
    r"<(?:eoh|eoa|eosys|sop|eop)>",  # InternLM, ChatGLM
    r"\[/?INST\]",
    r"\[(?:BOS|EOS|gMASK)\]",
    r"<</?SYS>>",
)
"""What the control tokens look like that common models put around texts and turns."""

COMMON_CONTROL = (
    *TURN_CONTROL,
    r"</?tool_(?:call|response)>",
    r"\[/?(?:AVAILABLE_TOOLS|TOOL_RESULTS|SYSTEM_PROMPT|MODEL_SETTINGS)\]",
    r"\[(?:TOOL_CALLS|TOOL_CONTENT|CALL_ID|ARGS|IMG|IMG_BREAK|IMG_END)\]",
)
"""What control tokens look like in common models, for engines whose tokenizer is not at hand.

Each is written as a tokenizer reads it: with a space inside, all of them take it for plain text.
"""

EXPORTED_CONTROL = tuple(one for one in COMMON_CONTROL if one not in REASONING_CONTROL)
"""What is broken up in texts that other programs train on."""

NOTHING = "(?!)"
_MAX_ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt: the template's own text, or a value filled into it."""

    text: str
    trusted: bool


def filled(pieces: Iterable[Piece], fields: PromptFields) -> list[Segment]:
    """Return a template with the values of ``fields`` in its slots."""
    return [
        Segment(sendable(fields.value(piece.text)), trusted=False)
        if piece.is_field
        else Segment(piece.text, trusted=True)
        for piece in pieces
    ]


def structure_pattern(literals: Iterable[str], expressions: Sequence[str] = ()) -> re.Pattern[str]:
    """Return what finds each of ``literals`` (the longest first) and ``expressions`` in a text."""
    ordered = sorted(set(literals), key=lambda literal: (-len(literal), literal))
    return re.compile("|".join([*map(re.escape, ordered), *expressions]) or NOTHING)


def sendable(text: str) -> str:
    """Return ``text`` with U+FFFD for each character that cannot be sent."""
    return UNSENDABLE.sub("\ufffd", text)


def sanitise(segments: Sequence[Segment], structure: re.Pattern[str]) -> list[Segment]:
    """Return ``segments`` with untrusted text changed so that only trusted text holds structure.

    What two neighbours form together counts as well. Trusted segments are returned as they are.

    Raises:
        PromptError: The tags of the format make it impossible.
    """
    for _ in range(_MAX_ROUNDS):
        breaks = _breaks(segments, structure)
        if not breaks:
            return list(segments)
        segments = _with_spaces(segments, breaks)
    raise PromptError(
        "This text cannot be kept apart from the tags of the prompt format; "
        "choose tags that stay different when a space is put into them."
    )


def _breaks(segments: Sequence[Segment], structure: re.Pattern[str]) -> list[tuple[int, int]]:
    """Return where spaces must go, in order: the number of the segment and the place in it."""
    text = "".join(segment.text for segment in segments)
    matches = list(structure.finditer(text))
    if not matches:
        return []
    ends = list(accumulate(len(segment.text) for segment in segments))
    breaks = []
    for match in matches:
        start, end = match.span()
        first, last = bisect_right(ends, start), bisect_left(ends, end)
        if first == last and segments[first].trusted:
            continue
        for number in range(first, last + 1):
            begin = ends[number] - len(segments[number].text)
            if not segments[number].trusted and begin < ends[number]:
                breaks.append((number, max(begin, start + 1) - begin))
                break
    return breaks


def _with_spaces(segments: Sequence[Segment], breaks: Sequence[tuple[int, int]]) -> list[Segment]:
    places: dict[int, list[int]] = {}
    for number, place in breaks:
        places.setdefault(number, [0]).append(place)
    return [
        Segment(_spaced(segment.text, places[number]), segment.trusted)
        if number in places
        else segment
        for number, segment in enumerate(segments)
    ]


def _spaced(text: str, starts: Sequence[int]) -> str:
    """Return the parts of ``text`` that begin at ``starts``, with a space between them."""
    return " ".join(text[start:end] for start, end in pairwise([*starts, len(text)]))
