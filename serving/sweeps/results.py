"""From an outcome to the rows that are stored: parsed, checked, nothing left out."""

from dataclasses import dataclass, replace

from db.generations import NewGeneration, Product, PromptText
from serving.checks import CheckContext, Finding, check_answer, check_reasoning
from serving.engines.messages import Choice
from serving.formats.parse import parse_completion
from serving.formats.reasoning_markup import opens_reasoning
from serving.formats.render import RenderedPrompt
from serving.sweeps.prompts import PromptBook
from serving.sweeps.work import Outcome, Work


@dataclass(frozen=True, slots=True)
class Described:
    """A generation to be stored, and what the checks found in its text."""

    generation: NewGeneration
    findings: tuple[Finding, ...] = ()
    answer_findings: tuple[Finding, ...] = ()
    """In the answer of one that holds both."""


def describe(outcome: Outcome, book: PromptBook) -> Described:
    """Return what is to be stored of ``outcome``."""
    work, choice = outcome.work, outcome.choice
    is_text = choice is not None and work.kind != "questions"
    read = _read(work, choice, book) if is_text and choice is not None else None
    generation = NewGeneration(
        slot_key=work.keys[outcome.replicate],
        attempt=work.attempts.get(outcome.replicate, 0) + 1,
        kind=work.kind,
        mode=work.mode,
        question_id=work.question.id,
        variant_id=work.under.variant_id if work.under else None,
        prompt_format_id=work.format_id,
        role_id=work.role_id,
        model_version_id=work.model_id,
        engine_id=outcome.engine_id,
        sampling_id=work.sampling_id,
        prompt=_prompt_text(work.prompt) if work.prompt else None,
        replicate=outcome.replicate,
        seed=outcome.seed,
        request_id=outcome.request_id,
        choice_index=choice.choice_index if choice else None,
        text=choice.text if choice else None,
        error=outcome.error,
        finish_reason=choice.finish_reason if choice else None,
        stop_reason=str(choice.stop_reason) if choice and choice.stop_reason is not None else None,
        prompt_tokens=choice.prompt_tokens if choice else None,
        completion_tokens=choice.completion_tokens if choice else None,
        latency_ms=outcome.latency_ms,
        engine_version=outcome.engine_version,
        product=_product(work, read) if read is not None else None,
    )
    if read is None:
        return Described(generation)
    return Described(generation, read.findings, read.answer_findings)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a choice holds; ``answer`` only where the work is whole and it was told apart."""

    text: str
    findings: tuple[Finding, ...]
    answer: str | None = None
    answer_findings: tuple[Finding, ...] = ()


def _product(work: Work, read: _Read) -> Product:
    parents = tuple(parent.variant_id for parent in work.parents)
    return Product(text=read.text, parent_ids=parents, answer=read.answer)


def _prompt_text(prompt: RenderedPrompt) -> PromptText:
    return PromptText(
        content_hash=prompt.content_hash,
        text=prompt.text,
        token_ids=prompt.id_bytes,
        n_tokens=len(prompt.token_ids) or None,
    )


def _read(work: Work, choice: Choice, book: PromptBook) -> _Read:
    """Return the variant or answer in ``choice``, or both, and what the checks find in them.

    What cannot be parsed is kept as it came, with a finding.
    """
    form = book.formats[work.format_id]
    opened = work.prompt is not None and opens_reasoning(work.prompt.text)
    parsed = parse_completion(form, work.task, choice.text, choice.finish_reason, opened=opened)
    part = parsed.response if work.kind == "answer" else parsed.reasoning
    text = part if part is not None else choice.text.strip()
    question = work.question
    context = CheckContext(
        question=question.text,
        context=question.context,
        reference_answer=question.reference_answer,
        role=question.role,
        language=question.language,
        finish_reason=choice.finish_reason or "unknown",
        prompt_problem=choice.prompt_problem,
        unparsed=parsed.problem if text else None,
    )
    if work.kind == "answer":
        under = work.under.text if work.under else None
        return _Read(text, tuple(check_answer(text, context, under)))
    if work.kind == "reasoning" or parsed.response is None:
        return _Read(text, tuple(check_reasoning(text, context)))
    # The end of the completion is the answer's: a reasoning before it was not cut off.
    of_reasoning = replace(context, finish_reason=None)
    return _Read(
        text,
        tuple(check_reasoning(text, of_reasoning)),
        parsed.response,
        tuple(check_answer(parsed.response, context, text)),
    )
