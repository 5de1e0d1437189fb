"""Rows of a dataset as text in a prompt format, for trainers elsewhere that tokenize themselves."""

from dataclasses import dataclass

from db.errors import UsageError
from serving.formats.definitions import (
    Completion,
    FormatDefinition,
    PromptFields,
    parse_template,
    without_empty_context,
)
from serving.formats.library import form_for
from serving.formats.render import task_templates
from serving.formats.sanitise import (
    EXPORTED_CONTROL,
    Segment,
    sanitise,
    sendable,
    structure_pattern,
)
from training.datasets.payload import RowTexts, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAsText:
    """One row: what the model reads, what it is to write, and what it is rather not to."""

    system: str
    """Of the system message; empty where the prompt holds the system text itself."""
    prompt: str
    """The whole prompt of a tagged format, without BOS; the user's turn of a chat format."""
    completion: str
    """Without the stop token, which a trainer adds."""
    rejected: str | None


def row_as_text(texts: RowTexts, target: Target, form: FormatDefinition) -> RowAsText:
    """Return one row in ``form``; texts of people hold no tag of it afterwards.

    Tags of reasoning such as ``<think>`` stay: other programs read them as we do.

    Raises:
        PromptError: A text cannot be kept apart from the tags.
        UsageError: The format lacks the task.
    """
    fields, task = texts.fields(target), texts.task(target)
    form = form_for(form, task)
    templates = task_templates(form, task)

    def written(completion: Completion) -> str:
        return _filled(templates.completion, completion.fields(), form)

    is_pair = texts.rejected_reasoning is not None or texts.rejected_answer is not None
    is_pair = is_pair or texts.rejected_questions is not None
    is_chat = form.kind == "chat"
    return RowAsText(
        system=texts.system if is_chat else "",
        prompt=_prompt(form, templates.prompt, fields),
        completion=written(texts.completion(target)),
        rejected=written(texts.completion(target, rejected=True)) if is_pair else None,
    )


def must_be_chat(form: FormatDefinition, what: str) -> None:
    """Refuse a format that has no turns.

    Raises:
        UsageError: ``form`` is no chat format.
    """
    if form.kind != "chat":
        raise UsageError(
            f"{what} holds turns of a chat, and {form.reference} has none; "
            "give a chat format, such as --prompt-format chat."
        )


def _prompt(form: FormatDefinition, template: str, fields: PromptFields) -> str:
    """Return the whole prompt of a tagged format, or the user's turn of a chat format."""
    is_short = form.kind == "chat" and not fields.context
    return _filled(without_empty_context(template) if is_short else template, fields, form)


def _filled(template: str, fields: PromptFields, form: FormatDefinition) -> str:
    segments = [
        Segment(sendable(fields.value(piece.text)), trusted=False)
        if piece.is_field
        else Segment(piece.text, trusted=True)
        for piece in parse_template(template)
    ]
    safe = sanitise(segments, structure_pattern(form.tags, EXPORTED_CONTROL))
    return "".join(segment.text for segment in safe)
