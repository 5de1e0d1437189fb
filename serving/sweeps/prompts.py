"""From a question and its factors to the exact prompt; the same for sending and for showing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.sweeps import QuestionText
from db.tables import PromptFormat, Role
from serving.engines.prompt_length import least_tokens
from serving.formats.definitions import FormatDefinition, PromptError, PromptFields, Task
from serving.formats.render import RenderedPrompt, render, render_many
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.asks import Ask
from serving.sweeps.engines import ServedModel
from serving.sweeps.work import Reasoning, Work


@dataclass(frozen=True, slots=True)
class PromptBook:
    """The formats and system texts of a sweep, by the ids of their stored versions."""

    formats: Mapping[int, FormatDefinition]
    systems: Mapping[int, str]


def load_book(session: Session) -> PromptBook:
    """Read all stored versions of formats and roles."""
    formats = session.execute(select(PromptFormat.id, PromptFormat.definition))
    systems = session.execute(select(Role.id, Role.system))
    return PromptBook(
        formats={row[0]: FormatDefinition.model_validate(row[1]) for row in formats},
        systems={row[0]: row[1] for row in systems},
    )


def render_question(
    question: QuestionText,
    form: FormatDefinition,
    system: str,
    task: Task,
    tokenizer: PromptTokenizer | None = None,
    *,
    reasonings: Sequence[str] = (),
) -> RenderedPrompt:
    """Return what would be sent to have ``task`` done for ``question``.

    Args:
        question: The question.
        form: The prompt format.
        system: The system text of the role.
        task: What is to be written.
        tokenizer: The model's; None renders text only.
        reasonings: The reasoning to answer from; for ``ensemble``, the two to start from.

    Raises:
        PromptError: A value that the task needs is missing.
        UsageError: The format lacks the task, or needs a chat template that is not there.
    """
    return render(form, task, prompt_fields(question, system, task, reasonings), tokenizer)


def prompt_fields(
    question: QuestionText, system: str, task: Task, reasonings: Sequence[str]
) -> PromptFields:
    """Return the values that the prompt of ``task`` is filled with."""
    first, second = (*reasonings, None, None)[:2]
    is_pair = task == "ensemble"
    return PromptFields(
        system=system,
        question=question.text,
        context=question.context,
        reasoning=None if is_pair else first,
        answer=question.reference_answer if task == "rationalise" else None,
        reasoning_a=first if is_pair else None,
        reasoning_b=second if is_pair else None,
    )


def ask_fields(question: QuestionText, system: str, ask: Ask) -> PromptFields:
    """Return the values that the prompt of ``ask`` is filled with."""
    return PromptFields(
        system=system, question=question.text, context=question.context, **ask.given
    )


def render_works(
    works: Sequence[Work], book: PromptBook, served: Mapping[int, ServedModel]
) -> None:
    """Set the prompt of each work, or the problem that keeps it from being sent."""

    def batch_of(work: Work) -> tuple[int, str, int]:
        return work.format_id, work.task, work.model_id

    for _, same in groupby(sorted(works, key=batch_of), key=batch_of):
        batch = list(same)
        form, task = book.formats[batch[0].format_id], batch[0].task
        model = served[batch[0].model_id]
        fields = [_fields(work, book) for work in batch]
        for work, prompt in zip(batch, _render(form, task, fields, model.tokenizer), strict=True):
            if isinstance(prompt, RenderedPrompt):
                work.prompt = prompt
                work.problem = _too_long(prompt, work.sampling.max_tokens, model)
            else:
                work.problem = str(prompt)


def _fields(work: Work, book: PromptBook) -> PromptFields:
    if work.ask is not None:
        return ask_fields(work.question, book.systems[work.role_id], work.ask)
    given: tuple[Reasoning, ...] = work.parents or ((work.under,) if work.under else ())
    return prompt_fields(
        work.question, book.systems[work.role_id], work.task, [one.text for one in given]
    )


def _render(
    form: FormatDefinition,
    task: Task,
    fields: Sequence[PromptFields],
    tokenizer: PromptTokenizer | None,
) -> list[RenderedPrompt] | list[RenderedPrompt | PromptError]:
    """Render all at once; where one cannot be rendered, one by one to know which."""
    try:
        return render_many(form, task, fields, tokenizer)
    except PromptError:
        return [_render_one(form, task, one, tokenizer) for one in fields]


def _render_one(
    form: FormatDefinition, task: Task, fields: PromptFields, tokenizer: PromptTokenizer | None
) -> RenderedPrompt | PromptError:
    try:
        return render(form, task, fields, tokenizer)
    except PromptError as error:
        return error


def _too_long(prompt: RenderedPrompt, max_tokens: int, model: ServedModel) -> str | None:
    n_prompt, limit = least_tokens(prompt.token_ids or prompt.text), model.context_length
    if limit is None or n_prompt + max_tokens <= limit:
        return None
    remedy = (
        f"lower max_tokens to at most {limit - n_prompt:,}, or shorten the question"
        if n_prompt < limit
        else "shorten the question or its context, or take a model that reads more"
    )
    about = "" if prompt.token_ids else "at least "
    has = f"the prompt has {about}{n_prompt:,} tokens and " if n_prompt else ""
    return (
        f"Too long: {has}max_tokens is {max_tokens:,}, "
        f"but {model.served_name} takes {limit:,} in all; {remedy}."
    )
