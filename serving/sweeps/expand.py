"""Which work a question gives in a pass: its levels, before anyone looks at what exists."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.sweeps import (
    QuestionText,
    WrittenVariant,
    question_texts,
    variant_texts,
    variants_of_sweep,
)
from db.tables import PromptFormat, Role
from serving.engine.responses import least_tokens
from serving.engine.served import ServedModel
from serving.formats.definitions import FormatDefinition, PromptError, PromptFields, Task
from serving.formats.render import RenderedPrompt, render, render_many
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.progress import Chunk
from serving.sweeps.slots import (
    TASK_OF_MODE,
    Pass,
    ResolvedPlan,
    WritingLevel,
    answering_levels,
    pairs,
    writing_levels,
)
from serving.sweeps.spec import Ask, Mode
from serving.sweeps.work import Reasoning, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the store holds of the questions of a chunk."""

    questions: Sequence[QuestionText]
    chosen: Mapping[int, str]
    """Texts of the existing variants that the plan chose."""
    written: Sequence[WrittenVariant]
    """Reasonings of earlier passes that are answered now."""


def load_material(
    session: Session, sweep_id: int, plan: ResolvedPlan, chunk: Chunk, pass_: Pass
) -> Material:
    """Read what the work of ``chunk`` is made from."""
    chosen = [one for question in chunk.question_ids for one in plan.chosen.get(question, ())]
    written = variants_of_sweep(session, sweep_id, chunk.question_ids) if pass_.earlier else ()
    return Material(
        questions=question_texts(session, chunk.question_ids),
        chosen=variant_texts(session, chosen),
        written=[variant for variant in written if variant.model_version_id in pass_.earlier],
    )


def candidates(plan: ResolvedPlan, material: Material, chunk: Chunk, pass_: Pass) -> Iterator[Work]:
    """Yield the work of ``chunk`` in ``pass_``, question by question, answers first."""
    by_question: dict[int, list[WrittenVariant]] = {}
    for variant in material.written:
        by_question.setdefault(variant.question_id, []).append(variant)
    unanswerable = frozenset(plan.unanswerable_ids)
    for question in material.questions:
        for variant in by_question.get(question.id, ()):
            yield from _answers_to_written(plan, question, variant, chunk, pass_)
        if pass_.is_first:
            yield from _answers_without_writer(plan, question, material, chunk, pass_)
            yield from _asked(plan, question, chunk, pass_)
        for level in writing_levels(plan, question.role):
            if level.model_id not in pass_.writes:
                continue
            if level.mode == "rationalise" and question.id in unanswerable:
                continue
            for parents in _starting_points(plan, question, level.mode, material.chosen):
                yield _reasoning(plan, question, level, parents, chunk)


def _asked(plan: ResolvedPlan, question: QuestionText, chunk: Chunk, pass_: Pass) -> Iterator[Work]:
    """Yield what a dialogue has written about ``question`` beside reasonings and answers."""
    for ask in plan.asks:
        if ask.question_id != question.id:
            continue
        for model_id in plan.model_ids:
            if model_id in pass_.models:
                yield Work(
                    question=question,
                    kind="questions",
                    mode="vanilla",
                    task=ask.task,
                    format_id=ask.format_id,
                    role_id=plan.roles[question.role][0],
                    model_id=model_id,
                    sampling=ask.sampling,
                    replicates=range(ask.replicates),
                    chunk=chunk,
                    ask=ask,
                )


def answers_under(plan: ResolvedPlan, reasoning: Work, made: Reasoning, pass_: Pass) -> list[Work]:
    """Return the answer work that a reasoning opens in ``pass_``."""
    return [
        Work(
            question=reasoning.question,
            kind="answer",
            mode=reasoning.mode,
            task="answer",
            format_id=reasoning.format_id,
            role_id=reasoning.role_id,
            model_id=level.model_id,
            sampling=level.sampling,
            replicates=range(plan.answers),
            chunk=reasoning.chunk,
            under=made,
        )
        for level in answering_levels(plan, reasoning.model_id)
        if level.model_id in pass_.models
    ]


def _reasoning(
    plan: ResolvedPlan,
    question: QuestionText,
    level: WritingLevel,
    parents: tuple[Reasoning, ...],
    chunk: Chunk,
) -> Work:
    return Work(
        question=question,
        kind="whole" if plan.one_pass else "reasoning",
        mode=level.mode,
        task="whole" if plan.one_pass else TASK_OF_MODE[level.mode],
        format_id=level.format_id,
        role_id=level.role_id,
        model_id=level.model_id,
        sampling=level.sampling,
        replicates=range(plan.variants),
        chunk=chunk,
        parents=parents,
    )


def _starting_points(
    plan: ResolvedPlan, question: QuestionText, mode: Mode, chosen: Mapping[int, str]
) -> Iterable[tuple[Reasoning, ...]]:
    """Return the pairs that an ensemble starts from; other modes start from nothing."""
    if mode != "ensemble":
        return [()]
    return [
        (Reasoning(a, chosen[a]), Reasoning(b, chosen[b]))
        for a, b in pairs(plan.chosen.get(question.id, ()))
        if a in chosen and b in chosen
    ]


def _answers_to_written(
    plan: ResolvedPlan,
    question: QuestionText,
    variant: WrittenVariant,
    chunk: Chunk,
    pass_: Pass,
) -> list[Work]:
    level = WritingLevel(
        mode=variant.mode,  # type: ignore[arg-type]  # the table's CHECK knows the modes
        format_id=variant.prompt_format_id,
        role_id=variant.role_id,
        model_id=variant.model_version_id,
        sampling=plan.reasoning_sampling[0],
    )
    reasoning = _reasoning(plan, question, level, (), chunk)
    return answers_under(plan, reasoning, Reasoning(variant.variant_id, variant.text), pass_)


def _answers_without_writer(
    plan: ResolvedPlan, question: QuestionText, material: Material, chunk: Chunk, pass_: Pass
) -> Iterator[Work]:
    """Yield vanilla answers, and answers under the chosen existing reasonings."""
    existing = [
        Reasoning(one, material.chosen[one])
        for one in plan.chosen.get(question.id, ())
        if one in material.chosen
    ]
    subjects: list[tuple[Mode, Reasoning | None]] = [("vanilla", None)]
    subjects += [("supplied", one) for one in existing]
    for mode, under in subjects:
        for format_id in plan.formats.get(mode, ()):
            for role_id in plan.roles[question.role]:
                for level in answering_levels(plan, None):
                    if level.model_id in pass_.models:
                        yield Work(
                            question=question,
                            kind="answer",
                            mode=mode,
                            task=TASK_OF_MODE[mode],
                            format_id=format_id,
                            role_id=role_id,
                            model_id=level.model_id,
                            sampling=level.sampling,
                            replicates=range(plan.answers),
                            chunk=chunk,
                            under=under,
                        )


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
