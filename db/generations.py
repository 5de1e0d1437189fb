"""Slots looked up and results recorded, both in bulk: the hot path of every sweep.

Core statements over columns, no ORM objects; the caller owns the transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import and_, insert, select
from sqlalchemy.orm import Session

from db.bulk import chunks, insert_missing, insert_rows
from db.identity import json_hash, text_hash
from db.tables import (
    Answer,
    Generation,
    Prompt,
    ReasoningVariant,
    Sampling,
    SweepGeneration,
    VariantParent,
    utc_now,
)


@dataclass(slots=True, kw_only=True)
class PromptText:
    """The exact prompt that was sent."""

    content_hash: str
    text: str
    token_ids: bytes | None
    n_tokens: int | None


@dataclass(slots=True, kw_only=True)
class Product:
    """The variant or answer that a good generation made."""

    text: str
    parent_ids: tuple[int, ...] = ()
    """Variants that this variant was made from."""
    answer: str | None = None
    """The answer that came in the same completion as the variant."""


@dataclass(slots=True, kw_only=True)
class NewGeneration:
    """One attempt at a slot, to be written. ``product`` is None where it failed."""

    slot_key: str
    attempt: int
    kind: str
    mode: str
    question_id: int
    variant_id: int | None
    prompt_format_id: int
    role_id: int
    model_version_id: int
    engine_id: int | None
    sampling_id: int
    prompt: PromptText | None
    replicate: int
    seed: int | None
    request_id: str | None = None
    choice_index: int | None = None
    text: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    stop_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None
    engine_version: str | None = None
    product: Product | None = None


@dataclass(slots=True)
class Recorded:
    """Where a result went."""

    generation_id: int
    product_id: int | None
    """Id of the variant or answer; None where it failed."""
    product_text: str | None
    answer_id: int | None = None
    """Of the answer that came with a variant in one completion."""
    is_new: bool = True
    """False where the slot had an ``ok`` generation already, which was linked instead."""


@dataclass(frozen=True, slots=True)
class SlotState:
    """What the store holds of one slot."""

    attempts: int
    ok_generation_id: int | None
    is_linked: bool
    """The good generation belongs to the sweep that asks."""
    failed_here: bool
    """The sweep that asks has a failed attempt."""
    variant_id: int | None
    variant_text: str | None


def find_slots(session: Session, sweep_id: int, slot_keys: Sequence[str]) -> dict[str, SlotState]:
    """Return the state of those of ``slot_keys`` that were attempted by any sweep."""
    states: dict[str, SlotState] = {}
    for part in chunks(slot_keys):
        query = (
            select(
                Generation.slot_key,
                Generation.id,
                Generation.attempt,
                Generation.ok,
                SweepGeneration.sweep_id,
                ReasoningVariant.id,
                ReasoningVariant.text,
            )
            .outerjoin(
                SweepGeneration,
                and_(
                    SweepGeneration.generation_id == Generation.id,
                    SweepGeneration.sweep_id == sweep_id,
                ),
            )
            .outerjoin(ReasoningVariant, ReasoningVariant.generation_id == Generation.id)
            .where(Generation.slot_key.in_(part))
        )
        for key, generation_id, attempt, ok, linked, variant_id, text in session.execute(query):
            known = states.get(key) or SlotState(0, None, False, False, None, None)
            states[key] = SlotState(
                attempts=max(known.attempts, attempt),
                ok_generation_id=generation_id if ok else known.ok_generation_id,
                is_linked=linked is not None if ok else known.is_linked,
                failed_here=known.failed_here or (not ok and linked is not None),
                variant_id=variant_id if ok else known.variant_id,
                variant_text=text if ok else known.variant_text,
            )
    return states


def sampling_id(session: Session, parameters: Mapping[str, Any]) -> int:
    """Return the id of a resolved sampling set, writing it on first sight."""
    content_hash = json_hash(parameters)
    row = {"content_hash": content_hash, "parameters": dict(parameters)}
    insert_missing(session, Sampling, [row])
    return session.scalars(select(Sampling.id).where(Sampling.content_hash == content_hash)).one()


def link_generations(
    session: Session, sweep_id: int, generation_ids: Iterable[int], *, made_here: bool = False
) -> None:
    """Show generations in a sweep: its own, or those that other sweeps made."""
    rows = [
        {"sweep_id": sweep_id, "generation_id": generation_id, "made_here": made_here}
        for generation_id in generation_ids
    ]
    insert_missing(session, SweepGeneration, rows)


def record_generations(
    session: Session, sweep_id: int, items: Sequence[NewGeneration], prompt_ids: dict[str, int]
) -> list[Recorded]:
    """Write attempts with their prompts, texts and links; return where each went, in order.

    Args:
        session: Of an open write transaction.
        sweep_id: The sweep that made them.
        items: Attempts at different slots.
        prompt_ids: Prompts known to be stored, by content hash; the new ones are added.
    """
    good, attempts = _stored(session, [item.slot_key for item in items])
    taken = {
        item.slot_key: good[item.slot_key]
        for item in items
        if item.slot_key in good and item.error is None
    }
    new = [item for item in items if item.slot_key not in taken]
    for item in new:
        item.attempt = max(item.attempt, attempts.get(item.slot_key, 0) + 1)
    store_prompts(session, [item.prompt for item in new if item.prompt is not None], prompt_ids)
    ids = insert_rows(session, Generation, [_row(item, prompt_ids) for item in new])
    link_generations(session, sweep_id, ids, made_here=True)
    link_generations(session, sweep_id, [recorded.generation_id for recorded in taken.values()])
    made = _store_products(session, list(zip(new, ids, strict=True)))
    return [taken.get(item.slot_key) or made[item.slot_key] for item in items]


def _stored(
    session: Session, slot_keys: Sequence[str]
) -> tuple[dict[str, Recorded], dict[str, int]]:
    """Return the good generations that slots got meanwhile, and how often others were tried.

    Slots are claimed, so that this happens only where a worker stood still for longer than its
    lease. The later text is then left out.
    """
    good: dict[str, Recorded] = {}
    attempts: dict[str, int] = {}
    for part in chunks(slot_keys):
        query = (
            select(
                Generation.slot_key,
                Generation.id,
                Generation.attempt,
                Generation.ok,
                ReasoningVariant.id,
                Answer.id,
                ReasoningVariant.text,
            )
            .outerjoin(ReasoningVariant, ReasoningVariant.generation_id == Generation.id)
            .outerjoin(Answer, Answer.generation_id == Generation.id)
            .where(Generation.slot_key.in_(part))
        )
        for key, generation_id, attempt, ok, variant, answer, text in session.execute(query):
            attempts[key] = max(attempts.get(key, 0), attempt)
            if ok:
                good[key] = Recorded(generation_id, variant or answer, text, is_new=False)
    return good, attempts


def store_prompts(
    session: Session, given: Iterable[PromptText], prompt_ids: dict[str, int]
) -> None:
    """Write the prompts that are not stored yet, and add the ids of all to ``prompt_ids``."""
    prompts = {
        prompt.content_hash: prompt for prompt in given if prompt.content_hash not in prompt_ids
    }
    # Always in one order: two writers of a server never wait for each other.
    rows = [_prompt_row(prompts[content_hash]) for content_hash in sorted(prompts)]
    insert_missing(session, Prompt, rows)
    for part in chunks(prompts):
        query = select(Prompt.content_hash, Prompt.id).where(Prompt.content_hash.in_(part))
        prompt_ids.update((row[0], row[1]) for row in session.execute(query))


def _prompt_row(prompt: PromptText) -> dict[str, Any]:
    return {name: getattr(prompt, name) for name in PromptText.__slots__}


_OWN = tuple(name for name in NewGeneration.__slots__ if name not in ("prompt", "product"))
_own_values = attrgetter(*_OWN)


def _row(item: NewGeneration, prompt_ids: Mapping[str, int]) -> dict[str, Any]:
    return dict(zip(_OWN, _own_values(item), strict=True)) | {
        "ok": item.error is None,
        "prompt_id": prompt_ids[item.prompt.content_hash] if item.prompt is not None else None,
        "created_at": utc_now(),
    }


def _store_products(
    session: Session, written: Sequence[tuple[NewGeneration, int]]
) -> dict[str, Recorded]:
    """Write the variants and answers of generations, given with their ids; return where they are.

    A variant that came with its answer in one completion is written before it.
    """
    good = [(item, item.product, made_by) for item, made_by in written if item.product is not None]
    variants = [one for one in good if one[0].kind in ("reasoning", "whole")]
    rows = [_product_row(item, product.text, made_by) for item, product, made_by in variants]
    variant_ids = insert_rows(session, ReasoningVariant, rows)
    parents = [
        {"variant_id": variant_id, "parent_id": parent_id, "position": position}
        for variant_id, (_, product, _) in zip(variant_ids, variants, strict=True)
        for position, parent_id in enumerate(product.parent_ids)
    ]
    if parents:
        session.connection().execute(insert(VariantParent), parents)
    made = {
        item.slot_key: variant_id
        for variant_id, (item, _, _) in zip(variant_ids, variants, strict=True)
    }
    answers = {
        item.slot_key: _product_row(item, text, made_by)
        | {"variant_id": made.get(item.slot_key, item.variant_id)}
        for item, product, made_by in good
        if (text := product.text if item.kind == "answer" else product.answer) is not None
    }
    answer_ids = insert_rows(session, Answer, list(answers.values()))
    answered = dict(zip(answers, answer_ids, strict=True))
    return {item.slot_key: _recorded(item, made_by, made, answered) for item, made_by in written}


def _recorded(
    item: NewGeneration, made_by: int, variants: Mapping[str, int], answers: Mapping[str, int]
) -> Recorded:
    text = item.product.text if item.product is not None else None
    key = item.slot_key
    if item.kind == "answer":
        return Recorded(made_by, answers.get(key), text)
    return Recorded(made_by, variants.get(key), text, answers.get(key))


def _product_row(item: NewGeneration, text: str, generation_id: int) -> dict[str, Any]:
    return {
        "question_id": item.question_id,
        "text": text,
        "source": "model",
        "generation_id": generation_id,
        "content_hash": text_hash(text),
        "created_at": utc_now(),
    }
