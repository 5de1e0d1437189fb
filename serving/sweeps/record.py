"""From the result of a slot to the rows that are stored: parsed, checked, nothing left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from db.generations import NewGeneration, Product, Recorded, record_generations
from db.search import index_texts
from serving.checks import CheckContext, Finding, check_answer, check_reasoning
from serving.checks.store import NewText, TextFinding, note_sentences, store_findings
from serving.engine.client import ServedModel
from serving.engine.messages import Choice
from serving.formats.parse import parse_completion
from serving.formats.reasoning_markup import opens_reasoning
from serving.sweeps.expand import SlotGroup, Templates

KNOWN_PROMPTS = 20_000
"""Prompts whose ids a run remembers."""


@dataclass(slots=True, kw_only=True)
class SlotResult:
    """What became of one slot: a choice, or an error."""

    slots: SlotGroup
    replicate: int
    seed: int | None = None
    choice: Choice | None = None
    error: str | None = None
    request_id: str | None = None
    latency_ms: float | None = None
    engine_id: int | None = None
    engine_version: str | None = None

    @property
    def slot_key(self) -> str:
        """Identifies the slot in the store."""
        return self.slots.keys[self.replicate]


def failed(
    slots: SlotGroup,
    error: str,
    *,
    request_id: str | None = None,
    model: ServedModel | None = None,
) -> list[SlotResult]:
    """Return the results of ``slots`` that have no text."""
    return [
        SlotResult(
            slots=slots,
            replicate=replicate,
            seed=slots.seed_of(place) if request_id else None,
            error=error,
            request_id=request_id,
            engine_id=model.engine_id if model else None,
            engine_version=model.engine_version if model else None,
        )
        for place, replicate in enumerate(slots.replicates)
    ]


Findings = Sequence[Finding]


def record(
    session: Session,
    sweep_id: int,
    results: Sequence[SlotResult],
    templates: Templates,
    prompt_ids: dict[str, int],
) -> list[Recorded]:
    """Store results with their texts and findings; return where each went.

    Args:
        session: Of an open write transaction.
        sweep_id: The sweep that made them.
        results: Of different slots.
        templates: Tell how texts are parsed.
        prompt_ids: Prompts known to be stored, by content hash; the new ones are added.
    """
    read = [_read(result, templates) for result in results]
    items = [_row(result, one[0]) for result, one in zip(results, read, strict=True)]
    stored = record_generations(session, sweep_id, items, prompt_ids)
    _store_findings(session, results, read, stored)
    return stored


Read = tuple[Product | None, Findings, Findings]
"""What a result made, and what the checks found in it and in an answer that came with it."""


def _store_findings(
    session: Session,
    results: Sequence[SlotResult],
    read: Sequence[Read],
    stored: Sequence[Recorded],
) -> None:
    """Write the flags of new texts, note their sentences, and make them findable."""
    new: list[tuple[NewText, Findings]] = []
    for result, (product, found, found_in_answer), at in zip(results, read, stored, strict=True):
        if product is None or not at.is_new:
            continue
        question_id, is_answer = result.slots.question.id, result.slots.kind == "answer"
        first = NewText(
            question_id=question_id,
            text=product.text,
            variant_id=None if is_answer else at.product_id,
            answer_id=at.product_id if is_answer else None,
        )
        new.append((first, found))
        if product.answer is not None:
            second = NewText(question_id=question_id, text=product.answer, answer_id=at.answer_id)
            new.append((second, found_in_answer))
    flags = [
        TextFinding(finding=finding, variant_id=text.variant_id, answer_id=text.answer_id)
        for text, found in new
        for finding in found
    ]
    written = [text for text, _ in new]
    store_findings(session, [*flags, *note_sentences(session, written)])
    index_texts(session, "variant", [(t.variant_id, t.text) for t in written if t.variant_id])
    index_texts(session, "answer", [(t.answer_id, t.text) for t in written if t.answer_id])


def _row(result: SlotResult, product: Product | None) -> NewGeneration:
    slots, choice = result.slots, result.choice
    return NewGeneration(
        slot_key=result.slot_key,
        attempt=slots.attempts.get(result.replicate, 0) + 1,
        kind=slots.kind,
        mode=slots.mode,
        question_id=slots.question.id,
        variant_id=slots.under.variant_id if slots.under else None,
        prompt_format_id=slots.format_id,
        role_id=slots.role_id,
        model_version_id=slots.model_id,
        engine_id=result.engine_id,
        sampling_id=slots.sampling_id,
        prompt=slots.prompt_text,
        replicate=result.replicate,
        seed=result.seed,
        request_id=result.request_id,
        choice_index=choice.choice_index if choice else None,
        text=choice.text if choice else None,
        error=result.error,
        finish_reason=choice.finish_reason if choice else None,
        stop_reason=str(choice.stop_reason) if choice and choice.stop_reason is not None else None,
        prompt_tokens=choice.prompt_tokens if choice else None,
        completion_tokens=choice.completion_tokens if choice else None,
        latency_ms=result.latency_ms,
        engine_version=result.engine_version,
        product=product,
    )


def _read(result: SlotResult, templates: Templates) -> Read:
    """Return the variant or answer in a choice, or both, and what the checks find in them.

    What cannot be parsed is kept as it came, with a finding.
    """
    slots, choice, question = result.slots, result.choice, result.slots.question
    if choice is None or slots.kind == "questions":
        return None, (), ()
    form = templates.formats[slots.format_id]
    opened = slots.prompt is not None and opens_reasoning(slots.prompt.text)
    parsed = parse_completion(form, slots.task, choice.text, choice.finish_reason, opened=opened)
    part = parsed.response if slots.kind == "answer" else parsed.reasoning
    text = part if part is not None else choice.text.strip()
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
    if slots.kind == "answer":
        under = slots.under.text if slots.under else None
        return Product(text=text), check_answer(text, context, under), ()
    parents = tuple(parent.variant_id for parent in slots.parents)
    product = Product(text=text, parent_ids=parents)
    if slots.kind == "reasoning" or parsed.response is None:
        return product, check_reasoning(text, context), ()
    # The end of the completion is the answer's: a reasoning before it was not cut off.
    return (
        replace(product, answer=parsed.response),
        check_reasoning(text, replace(context, finish_reason=None)),
        check_answer(parsed.response, context, text),
    )
