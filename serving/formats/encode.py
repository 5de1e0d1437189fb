"""Token ids of prompts, segment by segment, and a last check of what the model will read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serving.formats.neutral import Segment, neutralise, sendable
from serving.formats.tasks import PromptError
from serving.formats.tokenizer import PromptTokenizer, Reading

_MAX_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class EncodedSegments:
    """Segments as the model reads them, and their ids."""

    segments: tuple[Segment, ...]
    token_ids: tuple[int, ...]
    """Begin with BOS where the model has one and the segments begin a prompt."""

    @property
    def text(self) -> str:
        """The joined text, without BOS."""
        return "".join(segment.text for segment in self.segments)


def encode_segments(
    prompts: Sequence[Sequence[Segment]],
    structure: re.Pattern[str],
    tokenizer: PromptTokenizer,
    *,
    after: EncodedSegments | None = None,
) -> list[EncodedSegments]:
    """Return the ids of each of ``prompts``, whose segments hold no structure that is not trusted.

    A tokenizer may change a text (compose accents, drop characters), and so could make a tag where
    there was none. The ids of every untrusted segment are therefore decoded: where another text
    comes out, that text takes its place and is made safe and encoded again.

    Args:
        prompts: Segments of each prompt.
        structure: Finds tags and control tokens.
        tokenizer: The model's.
        after: What precedes the segments; None at the start of a prompt.

    Raises:
        PromptError: A text keeps changing while it is encoded.
    """
    prompts = [list(segments) for segments in prompts]
    for _ in range(_MAX_ROUNDS):
        placed = [_placed(segments, tokenizer, after) for segments in prompts]
        readings = _read(placed, tokenizer)
        settled = True
        for number, parts in enumerate(placed):
            read = [Segment(readings[part].text, part.trusted) for part in parts]
            if any(new.text != part.text for new, part in zip(read, parts, strict=True)):
                prompts[number] = _safe_again(read, structure, after)
                settled = False
        if settled:
            return [_joined(parts, readings, tokenizer, after) for parts in placed]
    raise PromptError(
        "This text changes each time the model's tokenizer reads it; "
        "leave out its unusual characters."
    )


class _Part(NamedTuple):
    """A segment in its place; equal ones have equal ids in every prompt."""

    text: str
    trusted: bool
    first: bool
    """Whether it starts afresh: nothing or a control token stands before it."""


def _placed(
    segments: Sequence[Segment], tokenizer: PromptTokenizer, after: EncodedSegments | None
) -> list[_Part]:
    first = tokenizer.starts_afresh_after(after.token_ids[-1] if after else None)
    parts = []
    for segment in segments:
        if not segment.text:
            continue
        parts.append(_Part(segment.text, segment.trusted, first))
        first = False
        if segment.trusted:
            ids = tokenizer.encode_trusted(segment.text, first=parts[-1].first)
            first = tokenizer.starts_afresh_after(ids[-1])
    return parts


def _read(placed: Sequence[Sequence[_Part]], tokenizer: PromptTokenizer) -> dict[_Part, Reading]:
    readings: dict[_Part, Reading] = {}
    distinct = dict.fromkeys(part for parts in placed for part in parts)
    for part in distinct:
        if part.trusted:
            ids = tokenizer.encode_trusted(part.text, first=part.first)
            readings[part] = Reading(ids, part.text)
    for first in (True, False):
        untrusted = [part for part in distinct if not part.trusted and part.first is first]
        read = tokenizer.read([part.text for part in untrusted], first=first)
        readings.update(zip(untrusted, read, strict=True))
    return readings


def _safe_again(
    segments: Sequence[Segment], structure: re.Pattern[str], after: EncodedSegments | None
) -> list[Segment]:
    before = [Segment(segment.text, trusted=True) for segment in after.segments] if after else []
    read = [Segment(sendable(s.text), s.trusted) for s in segments]
    return neutralise([*before, *read], structure)[len(before) :]


def _joined(
    parts: Sequence[_Part],
    readings: Mapping[_Part, Reading],
    tokenizer: PromptTokenizer,
    after: EncodedSegments | None,
) -> EncodedSegments:
    ids: list[int] = []
    if after is None and tokenizer.bos_token_id is not None:
        ids.append(tokenizer.bos_token_id)
    for part in parts:
        ids += readings[part].token_ids
    segments = tuple(Segment(part.text, part.trusted) for part in parts)
    return EncodedSegments(segments, tuple(ids))
