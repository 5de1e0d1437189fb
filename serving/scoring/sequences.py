"""From a pair to the token ids that an engine scores: the prompt as served, then the answer."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from db.errors import UsageError
from db.generations import PromptText
from serving.formats.definitions import (
    Completion,
    FormatDefinition,
    PromptError,
    PromptFields,
    Task,
)
from serving.formats.render import IGNORED_LABEL, render, render_example, task_templates
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.cells import Pair
from serving.sweeps.engines import ServedModel
from serving.sweeps.prompts import PromptBook, prompt_fields

WITHHELD = "…"
"""Stands in the question's place where it is withheld; no word of any language. The context is
left out as well."""


ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Sequence(Generic[ItemT]):
    """An item (such as a pair) as it is sent, or why it cannot be."""

    item: ItemT
    token_ids: tuple[int, ...] = ()
    n_scored: int = 0
    """Tokens at the end that are scored: the answer's, with its end token where it has one."""
    prompt: PromptText | None = None
    problem: str | None = None


def withheld(fields: PromptFields) -> PromptFields:
    """Return ``fields`` without the question and its context."""
    return replace(fields, question=WITHHELD, context="")


def sequence_of(pair: Pair, book: PromptBook, model: ServedModel) -> Sequence[Pair]:
    """Return what is sent to score ``pair``; ``model`` must have a tokenizer."""
    assert model.tokenizer is not None
    form, task = book.formats[pair.cell.format_id], _task(pair)
    given = [pair.under.text] if pair.under else []
    fields = prompt_fields(pair.cell.question, book.systems[pair.cell.role_id], task, given)
    if pair.withheld:
        fields = withheld(fields)
    try:
        sequence = _encoded(pair, form, task, fields, model.tokenizer)
    except (PromptError, UsageError) as error:
        return Sequence(pair, problem=str(error))
    return replace(sequence, problem=too_long(sequence.token_ids, model))


def too_long(token_ids: tuple[int, ...], model: ServedModel) -> str | None:
    """Return why ``model`` cannot read so many tokens; None where it can."""
    limit = model.context_length
    # The server always writes one token more.
    if limit is None or len(token_ids) + 1 <= limit:
        return None
    return (
        f"Too long: prompt and answer have {len(token_ids):,} tokens, and"
        f" {model.served_name} takes {limit:,} with one more that it writes."
    )


def _task(pair: Pair) -> Task:
    return "answer" if pair.under else "vanilla"


def _encoded(
    pair: Pair,
    form: FormatDefinition,
    task: Task,
    fields: PromptFields,
    tokenizer: PromptTokenizer,
) -> Sequence[Pair]:
    prompt = render(form, task, fields, tokenizer)
    answer = Completion(response=pair.answer.text)
    example = render_example(form, task, fields, answer, tokenizer)
    ids = example.token_ids
    if task_templates(form, task).ends_with_stop_token and not pair.answer.is_ended:
        ids = ids[:-1]
    n_prompt = example.labels.count(IGNORED_LABEL)
    return Sequence(
        pair,
        token_ids=ids,
        n_scored=len(ids) - n_prompt,
        prompt=PromptText(
            content_hash=prompt.content_hash,
            text=prompt.text,
            token_ids=prompt.id_bytes,
            n_tokens=len(prompt.token_ids),
        ),
    )
