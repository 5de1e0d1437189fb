"""Where the parts of a prompt stand: the template of one task as trusted text and slots."""

import re
from functools import lru_cache

from db.errors import UsageError
from serving.formats.chat_template import ChatTemplate
from serving.formats.definitions import FormatDefinition, TaskTemplates
from serving.formats.neutral import COMMON_CONTROL, structure_pattern
from serving.formats.tasks import Task
from serving.formats.templates import Piece, parse_template, without_empty_context
from serving.formats.tokenizer import PromptTokenizer


def task_templates(form: FormatDefinition, task: Task) -> TaskTemplates:
    """Return the templates of ``task``.

    Raises:
        UsageError: The format has none.
    """
    templates = form.tasks.get(task)
    if templates is None:
        raise UsageError(
            f"The prompt format {form.reference} has no task {task!r} "
            f"(it has {', '.join(form.tasks.given())}); choose another format or mode."
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
            f"The prompt format {form.reference} needs the model's tokenizer with its chat "
            "template: name the folder of both in the server's settings, or use a tagged format."
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
