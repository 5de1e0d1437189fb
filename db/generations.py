"""Slots looked up and results recorded, both in bulk: the hot path of every sweep.

Core statements over columns, no ORM objects; the caller owns the transaction.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, and_, func, insert, select
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

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

IN_CHUNK = 5_000
"""Values in one IN list; SQLite and PostgreSQL both take 32,000 parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptText:
    """The exact prompt that was sent."""

    content_hash: str
    text: str
    token_ids: bytes | None
    n_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """The variant or answer that a good generation made."""

    text: str
    parent_ids: tuple[int, ...] = ()
    """Variants that this variant was made from."""
    answer: str | None = None
    """The answer that came in the same completion as the variant."""


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True)
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


def chunks(values: Sequence[Any], size: int = IN_CHUNK) -> Iterator[Sequence[Any]]:
    """Yield ``values`` in pieces that fit one IN list."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


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
    insert_missing(session, _table(Sampling), [row])
    return session.execute(
        select(Sampling.id).where(Sampling.content_hash == content_hash)
    ).scalar_one()


def link_generations(session: Session, sweep_id: int, generation_ids: Iterable[int]) -> None:
    """Show generations that other sweeps made in this sweep as well."""
    rows = [
        {"sweep_id": sweep_id, "generation_id": generation_id, "made_here": False}
        for generation_id in generation_ids
    ]
    if rows:
        insert_missing(session, _table(SweepGeneration), rows)


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
    taken = _taken(session, [item for item in items if item.error is None])
    new = [item for item in items if item.slot_key not in taken]
    _store_prompts(session, new, prompt_ids)
    ids = _insert(session, _table(Generation), [_row(i, prompt_ids) for i in new])
    links = [
        {"sweep_id": sweep_id, "generation_id": generation_id, "made_here": True}
        for generation_id in ids
    ]
    if links:
        session.connection().execute(insert(_table(SweepGeneration)), links)
    link_generations(session, sweep_id, [recorded.generation_id for recorded in taken.values()])
    written = dict(zip((item.slot_key for item in new), ids, strict=True))
    products = _store_products(session, new, written)
    answers = _store_answers_beside(session, new, written, products)
    return [
        taken.get(item.slot_key) or _recorded(item, written, products, answers) for item in items
    ]


def _recorded(
    item: NewGeneration,
    written: Mapping[str, int],
    products: Mapping[str, int],
    answers: Mapping[str, int],
) -> Recorded:
    text = item.product.text if item.product is not None else None
    key = item.slot_key
    return Recorded(written[key], products.get(key), text, answers.get(key))


def _taken(session: Session, items: Sequence[NewGeneration]) -> dict[str, Recorded]:
    """Find slots that got their good generation elsewhere meanwhile.

    Within one worker sweeps claim their slots, so that this cannot happen; it guards a store that
    two workers share by mistake. The later text is then left out.
    """
    found: dict[str, Recorded] = {}
    for part in chunks([item.slot_key for item in items]):
        query = (
            select(
                Generation.slot_key,
                Generation.id,
                ReasoningVariant.id,
                Answer.id,
                ReasoningVariant.text,
            )
            .outerjoin(ReasoningVariant, ReasoningVariant.generation_id == Generation.id)
            .outerjoin(Answer, Answer.generation_id == Generation.id)
            .where(Generation.slot_key.in_(part), Generation.ok)
        )
        for key, generation_id, variant_id, answer_id, text in session.execute(query):
            product_id = variant_id or answer_id
            found[key] = Recorded(generation_id, product_id, text, is_new=False)
    return found


def _store_prompts(
    session: Session, items: Sequence[NewGeneration], prompt_ids: dict[str, int]
) -> None:
    store_prompts(session, [item.prompt for item in items if item.prompt is not None], prompt_ids)


def store_prompts(
    session: Session, given: Sequence[PromptText], prompt_ids: dict[str, int]
) -> None:
    """Write the prompts that are not stored yet, and add the ids of all to ``prompt_ids``."""
    prompts = {
        prompt.content_hash: prompt for prompt in given if prompt.content_hash not in prompt_ids
    }
    if not prompts:
        return
    rows = [
        {
            "content_hash": prompt.content_hash,
            "text": prompt.text,
            "token_ids": prompt.token_ids,
            "n_tokens": prompt.n_tokens,
        }
        for prompt in prompts.values()
    ]
    insert_missing(session, _table(Prompt), rows)
    for part in chunks(list(prompts)):
        query = select(Prompt.content_hash, Prompt.id).where(Prompt.content_hash.in_(part))
        prompt_ids.update((row[0], row[1]) for row in session.execute(query))


def _row(item: NewGeneration, prompt_ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "slot_key": item.slot_key,
        "attempt": item.attempt,
        "kind": item.kind,
        "ok": item.error is None,
        "question_id": item.question_id,
        "variant_id": item.variant_id,
        "mode": item.mode,
        "prompt_format_id": item.prompt_format_id,
        "role_id": item.role_id,
        "model_version_id": item.model_version_id,
        "engine_id": item.engine_id,
        "sampling_id": item.sampling_id,
        "prompt_id": prompt_ids[item.prompt.content_hash] if item.prompt is not None else None,
        "replicate": item.replicate,
        "seed": item.seed,
        "request_id": item.request_id,
        "choice_index": item.choice_index,
        "text": item.text,
        "error": item.error,
        "finish_reason": item.finish_reason,
        "stop_reason": item.stop_reason,
        "prompt_tokens": item.prompt_tokens,
        "completion_tokens": item.completion_tokens,
        "latency_ms": item.latency_ms,
        "engine_version": item.engine_version,
        "created_at": utc_now(),
    }


def _store_products(
    session: Session, items: Sequence[NewGeneration], written: Mapping[str, int]
) -> dict[str, int]:
    """Write variants and answers with parents; return their ids by slot key."""
    made: dict[str, int] = {}
    parents: list[dict[str, Any]] = []
    variants, answers = ("reasoning", "whole"), ("answer",)
    for kinds, table in ((variants, _table(ReasoningVariant)), (answers, _table(Answer))):
        chosen = [
            (item, item.product)
            for item in items
            if item.kind in kinds and item.product is not None
        ]
        rows = [_product_row(item, product, written[item.slot_key]) for item, product in chosen]
        for (item, product), product_id in zip(chosen, _insert(session, table, rows), strict=True):
            made[item.slot_key] = product_id
            parents += [
                {"variant_id": product_id, "parent_id": parent_id, "position": position}
                for position, parent_id in enumerate(product.parent_ids)
            ]
    if parents:
        session.connection().execute(insert(_table(VariantParent)), parents)
    return made


def _store_answers_beside(
    session: Session,
    items: Sequence[NewGeneration],
    written: Mapping[str, int],
    variants: Mapping[str, int],
) -> dict[str, int]:
    """Write the answers that came in one completion with their variant; return ids by slot key."""
    both = [item for item in items if item.product is not None and item.product.answer is not None]
    rows = []
    for item in both:
        assert item.product is not None
        assert item.product.answer is not None
        key = item.slot_key
        answer = Product(text=item.product.answer)
        row = _product_row(item, answer, written[key]) | {"variant_id": variants[key]}
        rows.append(row)
    ids = _insert(session, _table(Answer), rows)
    return {item.slot_key: answer_id for item, answer_id in zip(both, ids, strict=True)}


def _product_row(item: NewGeneration, product: Product, generation_id: int) -> dict[str, Any]:
    row = {
        "question_id": item.question_id,
        "text": product.text,
        "source": "model",
        "generation_id": generation_id,
        "content_hash": text_hash(product.text),
        "created_at": utc_now(),
    }
    return row | {"variant_id": item.variant_id} if item.kind == "answer" else row


def _insert(session: Session, table: Table, rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows under ids reserved beforehand: several times faster than asking for them."""
    if not rows:
        return []
    ids = _reserve_ids(session, table, len(rows))
    for row, row_id in zip(rows, ids, strict=True):
        row["id"] = row_id
    session.connection().execute(insert(table), rows)
    return ids


def _reserve_ids(session: Session, table: Table, count: int) -> list[int]:
    """Return ids that nobody else gets: SQLite has one writer, PostgreSQL a sequence."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        newest = connection.execute(select(func.max(table.c.id))).scalar() or 0
        return list(range(newest + 1, newest + 1 + count))
    sequence = func.pg_get_serial_sequence(table.name, "id").cast(REGCLASS)
    query = select(func.nextval(sequence)).select_from(func.generate_series(1, count).alias())
    return list(connection.execute(query).scalars())


def insert_missing(session: Session, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose unique keys are not taken yet."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite_insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(postgresql_insert(table).on_conflict_do_nothing(), rows)


def _table(mapped: type) -> Table:
    return cast(Table, mapped.__table__)  # type: ignore[attr-defined]
