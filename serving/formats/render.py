"""The one renderer of prompts, for serving and for training.

Token ids are built once, segment by segment, with fixed borders: what a person writes changes no
id outside its own slot, holds no control token and no tag, and an example to learn from begins with
exactly the ids that are served.
"""

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from db.errors import UsageError
from db.identity import short_hash
from serving.formats.definitions import FormatDefinition
from serving.formats.encode import EncodedSegments, encode_segments
from serving.formats.layout import prompt_pieces, structure_of, task_templates
from serving.formats.neutral import Segment, neutralise, sendable
from serving.formats.tasks import Completion, PromptFields, Task
from serving.formats.templates import Piece, parse_template
from serving.formats.tokenizer import PromptTokenizer

IGNORED_LABEL = -100
"""Label of a token that is read but not learned."""


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """Exactly what is sent to a model."""

    text: str
    """For engines that take text; without BOS where the engine's tokenizer adds it by itself."""
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
    return render_many(form, task, [fields], tokenizer)[0]


def render_many(
    form: FormatDefinition,
    task: Task,
    fields: Sequence[PromptFields],
    tokenizer: PromptTokenizer | None = None,
) -> list[RenderedPrompt]:
    """Return the prompt of ``task`` for each of ``fields``; faster than one by one."""
    templates = task_templates(form, task)
    stop, schema = templates.stop, templates.json_schema
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
    segments = _segments(parse_template(templates.completion), completion.fields())
    before = [Segment(segment.text, trusted=True) for segment in prompt.segments]
    segments = neutralise([*before, *segments], structure)[len(before) :]
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
    return neutralise(_segments(pieces, fields), structure_of(form, tokenizer))


def _segments(pieces: Sequence[Piece], fields: PromptFields) -> list[Segment]:
    return [
        Segment(sendable(fields.value(piece.text)), trusted=False)
        if piece.is_field
        else Segment(piece.text, trusted=True)
        for piece in pieces
    ]


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
