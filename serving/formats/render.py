"""The one renderer of prompts, for serving and for training.

Token ids are built once, segment by segment, with fixed borders: what a person writes changes no
id outside its own slot, holds no control token and no tag, and an example to learn from begins with
exactly the ids that are served.
"""

import re
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from db.errors import UsageError
from db.identity import short_hash
from serving.formats.chat_template import ChatTemplate, chat_prompt
from serving.formats.definitions import (
    Completion,
    FormatDefinition,
    Piece,
    PromptError,
    PromptFields,
    Task,
    TaskTemplates,
    parse_template,
    without_empty_context,
)
from serving.formats.sanitise import (
    COMMON_CONTROL,
    Segment,
    filled,
    sanitise,
    sendable,
    structure_pattern,
)
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


class _Placed(NamedTuple):
    """A segment in its place; equal ones have equal ids in every prompt."""

    text: str
    trusted: bool
    first: bool
    """Whether it starts afresh: nothing or a control token stands before it."""


def _placed(
    segments: Sequence[Segment], tokenizer: PromptTokenizer, after: EncodedSegments | None
) -> list[_Placed]:
    first = tokenizer.starts_afresh_after(after.token_ids[-1] if after else None)
    parts = []
    for segment in segments:
        if not segment.text:
            continue
        parts.append(_Placed(segment.text, segment.trusted, first))
        first = False
        if segment.trusted:
            ids = tokenizer.encode_trusted(segment.text, first=parts[-1].first)
            first = tokenizer.starts_afresh_after(ids[-1])
    return parts


def _read(
    placed: Sequence[Sequence[_Placed]], tokenizer: PromptTokenizer
) -> dict[_Placed, Reading]:
    readings: dict[_Placed, Reading] = {}
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
    return sanitise([*before, *read], structure)[len(before) :]


def _joined(
    parts: Sequence[_Placed],
    readings: Mapping[_Placed, Reading],
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


def task_templates(form: FormatDefinition, task: Task) -> TaskTemplates:
    """Return the templates of ``task``.

    Raises:
        UsageError: The format has none.
    """
    templates = form.tasks.get(task)
    if templates is None:
        raise UsageError(
            "The prompt format {reference} has no task {task!r} "
            "(it has {given}); choose another format or mode.",
            reference=form.reference,
            task=task,
            given=", ".join(form.tasks.given()),
        )
    return templates


def prompt_pieces(
    form: FormatDefinition,
    task: Task,
    tokenizer: PromptTokenizer | None,
    *,
    with_system: bool,
    with_context: bool,
) -> tuple[Piece, ...]:
    """Return the prompt of ``task`` as text and slots, without the token that begins every text.

    Raises:
        UsageError: The format has no such task, or needs a chat template that is not there.
    """
    if form.kind == "tagged":
        return parse_template(task_templates(form, task).prompt)
    if tokenizer is None or tokenizer.chat_template is None:
        raise UsageError(
            "The prompt format {reference} needs the model's tokenizer with its chat "
            "template: name the folder of both in the server's settings, or use a tagged format.",
            reference=form.reference,
        )
    return _chat_pieces(
        form, task, tokenizer.chat_template, tokenizer.bos_token, with_system, with_context
    )


def structure_of(form: FormatDefinition, tokenizer: PromptTokenizer | None) -> re.Pattern[str]:
    """Return what finds everything that has a meaning of its own in a prompt of this format."""
    if tokenizer is None:
        return _structure(form.tags, COMMON_CONTROL)
    return tokenizer.structure(form.tags)


@lru_cache(maxsize=256)
def _chat_pieces(
    form: FormatDefinition,
    task: Task,
    template: ChatTemplate,
    bos_token: str | None,
    with_system: bool,
    with_context: bool,
) -> tuple[Piece, ...]:
    turn = task_templates(form, task).prompt
    pieces = template.pieces(
        turn if with_context else without_empty_context(turn), with_system=with_system
    )
    if not bos_token or not pieces or pieces[0].is_field:
        return pieces
    start = pieces[0].text
    while start.startswith(bos_token):
        start = start.removeprefix(bos_token)
    return (Piece(start, is_field=False), *pieces[1:])


@lru_cache(maxsize=64)
def _structure(tags: tuple[str, ...], expressions: tuple[str, ...]) -> re.Pattern[str]:
    return structure_pattern(tags, expressions)


IGNORED_LABEL = -100
"""Label of a token that is read but not learned."""


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """Exactly what is sent to a model."""

    text: str
    """For engines that take text; without BOS where the engine's tokenizer adds it by itself. A
    ``ChatPrompt`` for those that take messages."""
    token_ids: tuple[int, ...]
    """For engines that take ids; empty where no tokenizer was at hand."""
    content_hash: str
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    json_schema: str | None = None
    """Canonical JSON of the schema that the completion must keep; None where it is free text."""

    @property
    def id_bytes(self) -> bytes | None:
        """The ids as little-endian unsigned 32-bit numbers; None where there are none."""
        return _id_bytes(self.token_ids) if self.token_ids else None


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A prompt and the completion to learn."""

    token_ids: tuple[int, ...]
    labels: tuple[int, ...]
    """The ids of the completion; ``IGNORED_LABEL`` for those of the prompt."""


def render(
    form: FormatDefinition,
    task: Task,
    fields: PromptFields,
    tokenizer: PromptTokenizer | None = None,
) -> RenderedPrompt:
    """Return the prompt of ``task``; without ``tokenizer``, as text only.

    Raises:
        PromptError: A value that the task needs is missing, or the prompt cannot be made safe.
        UsageError: The format lacks the task, or a chat template is needed and not there.
    """
    return render_batch(form, task, [fields], tokenizer)[0]


def render_batch(
    form: FormatDefinition,
    task: Task,
    fields: Sequence[PromptFields],
    tokenizer: PromptTokenizer | None = None,
    *,
    as_messages: bool = False,
    system_apart: bool = True,
) -> list[RenderedPrompt]:
    """Return the prompt of ``task`` for each of ``fields``; faster than one by one.

    For servers that render chat formats themselves, ``as_messages``, the system's apart or not.
    """
    templates = task_templates(form, task)
    stop, schema = templates.stop, templates.json_schema
    if as_messages:
        structure = structure_of(form, None)
        chats = [chat_prompt(templates.prompt, one, structure, system_apart) for one in fields]
        return [
            RenderedPrompt(
                chat, (), short_hash("messages", chat.system, chat.user), stop, (), schema
            )
            for chat in chats
        ]
    prompts = [_safe_segments(form, task, values, tokenizer) for values in fields]
    if tokenizer is None:
        texts = ["".join(segment.text for segment in segments) for segments in prompts]
        return [
            RenderedPrompt(text, (), short_hash("text", text), stop, (), schema) for text in texts
        ]
    stop_token_ids = tuple(sorted(_stop_tokens(form, tokenizer)))
    start = "" if tokenizer.adds_bos else tokenizer.bos_token or ""
    rendered = []
    for encoded in encode_segments(prompts, structure_of(form, tokenizer), tokenizer):
        ids = encoded.token_ids
        content_hash = short_hash(tokenizer.content_hash, _id_bytes(ids))
        rendered.append(
            RenderedPrompt(start + encoded.text, ids, content_hash, stop, stop_token_ids, schema)
        )
    return rendered


def render_example(
    form: FormatDefinition,
    task: Task,
    fields: PromptFields,
    completion: Completion,
    tokenizer: PromptTokenizer,
) -> TrainingExample:
    """Return the ids of a prompt, as served, and of the completion to learn, with its stop token.

    Raises:
        PromptError: A value is missing, or a text cannot be made safe.
        UsageError: As for ``render``; or the model has no token that ends a text.
    """
    structure = structure_of(form, tokenizer)
    prompt = _encoded_prompt(form, task, fields, tokenizer)
    templates = task_templates(form, task)
    segments = filled(parse_template(templates.completion), completion.fields())
    before = [Segment(segment.text, trusted=True) for segment in prompt.segments]
    segments = sanitise([*before, *segments], structure)[len(before) :]
    (learned,) = encode_segments([segments], structure, tokenizer, after=prompt)
    ids = learned.token_ids
    if templates.ends_with_stop_token:
        ids = (*ids, _turn_end(form, tokenizer))
    return TrainingExample(
        (*prompt.token_ids, *ids), (*(IGNORED_LABEL for _ in prompt.token_ids), *ids)
    )


def _encoded_prompt(
    form: FormatDefinition, task: Task, fields: PromptFields, tokenizer: PromptTokenizer
) -> EncodedSegments:
    segments = _safe_segments(form, task, fields, tokenizer)
    return encode_segments([segments], structure_of(form, tokenizer), tokenizer)[0]


def _safe_segments(
    form: FormatDefinition, task: Task, fields: PromptFields, tokenizer: PromptTokenizer | None
) -> list[Segment]:
    pieces = prompt_pieces(
        form,
        task,
        tokenizer,
        with_system=bool(fields.system),
        with_context=bool(fields.context),
    )
    return sanitise(filled(pieces, fields), structure_of(form, tokenizer))


def _stop_tokens(form: FormatDefinition, tokenizer: PromptTokenizer) -> set[int]:
    ends = {tokenizer.eos_token_id}
    if form.kind == "chat":
        ends.add(tokenizer.turn_end_id)
    return {index for index in ends if index is not None}


def _turn_end(form: FormatDefinition, tokenizer: PromptTokenizer) -> int:
    end = tokenizer.turn_end_id if form.kind == "chat" else tokenizer.eos_token_id
    if end is None:
        raise UsageError(
            "This model's tokenizer_config.json names no eos_token, so it cannot learn to stop; "
            "add the token that ends a text."
        )
    return end


def _id_bytes(ids: Sequence[int]) -> bytes:
    numbers = array("I", ids)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
