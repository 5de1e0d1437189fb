"""How a text came to be: everything the store knows of what wrote it."""

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, defer

from db.errors import UsageError, existing
from db.identity import Ref, parse_ref
from db.questions import QuestionRow, get_question
from db.tables import (
    Answer,
    CheckFlag,
    Engine,
    Generation,
    ModelVersion,
    Prompt,
    PromptFormat,
    Question,
    Rater,
    ReasoningVariant,
    Role,
    Sampling,
    Sweep,
    SweepGeneration,
)
from db.tables.base import as_row
from db.texts.rows import FLAGGED, TABLES, read_parents

MAX_EXCERPT = 80
"""Characters that name a text in a list."""
_GENERATED: dict[str, Any] = {
    "variant": ReasoningVariant,
    "answer": Answer,
    "generation": Generation,
}
_WITH_TEXT: dict[str, Any] = {**_GENERATED, "question": Question}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrigin:
    """The weights that wrote a text."""

    id: int
    name: str
    kind: str
    digest: str | None
    """None for a declared model, whose weights nobody has seen."""
    precision: str | None
    """In which it was served; None where nobody tells."""
    path: str | None
    hub_id: str | None
    revision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOrigin:
    """One choice of one request: what was sent, to whom, and what came back."""

    id: int
    kind: str
    mode: str
    ok: bool
    slot_key: str
    attempt: int
    replicate: int
    model: ModelOrigin
    lineage: tuple[ModelOrigin, ...]
    """What the model was made from, the nearest first."""
    prompt_format: str
    role: str
    system: str
    """The role's system text in the version that was sent."""
    prompt_text: str | None
    prompt_token_ids: tuple[int, ...] | None
    """None where the engine takes no token ids."""
    prompt_hash: str | None
    sampling: dict[str, Any]
    seed: int | None
    request_id: str | None
    choice_index: int | None
    engine: str | None
    engine_version: str | None
    completion: str | None
    """The text as the engine gave it."""
    error: str | None
    finish_reason: str | None
    stop_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_ms: float | None
    created_at: datetime
    sweeps: tuple[tuple[int, str], ...]
    """Sweeps that show it, as (id, name), the one that made it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Everything the store knows of one reasoning, answer or generation."""

    ref: Ref
    question: QuestionRow
    text: str | None
    """None for a generation that failed."""
    source: str | None
    """None for a generation."""
    author: str | None
    note: str | None
    created_at: datetime
    parents: tuple[Ref, ...]
    """What it was made from: merged, edited, or the reasoning that it stands under."""
    checks: tuple[tuple[str, str | None], ...]
    """What the checks found, as (name, detail)."""
    generation: GenerationOrigin | None
    """None where no engine wrote it."""


def provenance(session: Session, ref: Ref | str, *, limit: int | None = None) -> Provenance:
    """Return how the text ``ref`` (``v12``, ``a12`` or ``g12``) came to be.

    Args:
        session: Of the store.
        ref: Its short name.
        limit: Characters read of the text, the prompt and the completion each, and token ids of the
            prompt; None: all.

    Raises:
        UsageError: There is none with this id, or its kind has no text of an engine.
    """
    ref = parse_ref(ref) if isinstance(ref, str) else ref
    table = _GENERATED.get(ref.kind)
    if table is None:
        raise UsageError(
            "{ref} is a {ref_kind}; give a reasoning (v12), an answer (a12) or a g12.",
            ref=ref,
            ref_kind=ref.kind,
        )
    row = session.get(table, ref.id, options=[defer(table.text)])
    row = existing(row, "There is no {ref_kind} {ref}.", ref_kind=ref.kind, ref=ref)
    is_generation = ref.kind == "generation"
    return Provenance(
        ref=ref,
        question=get_question(session, row.question_id),
        text=_cut(session, table, ref.id, limit),
        source=None if is_generation else row.source,
        author=None if is_generation else _author(session, row.author_id),
        note=row.note if ref.kind == "variant" else None,
        created_at=row.created_at,
        parents=_parents(session, ref, row),
        checks=_checks(session, ref),
        generation=_origin(session, row.id if is_generation else row.generation_id, limit),
    )


def _parents(session: Session, ref: Ref, row: Any) -> tuple[Ref, ...]:
    if ref.kind == "variant":
        return tuple(Ref("variant", one) for one in read_parents(session, [ref.id])[ref.id])
    parents = [Ref("variant", row.variant_id)] if row.variant_id else []
    if ref.kind == "answer" and row.parent_id:
        parents.append(Ref("answer", row.parent_id))
    return tuple(parents)


def _origin(
    session: Session, generation_id: int | None, limit: int | None
) -> GenerationOrigin | None:
    if generation_id is None:
        return None
    generation, prompt_format, role, sampling, engine = session.execute(
        select(Generation, PromptFormat, Role, Sampling, Engine.name)
        .join(PromptFormat, PromptFormat.id == Generation.prompt_format_id)
        .join(Role, Role.id == Generation.role_id)
        .join(Sampling, Sampling.id == Generation.sampling_id)
        .outerjoin(Engine, Engine.id == Generation.engine_id)
        .where(Generation.id == generation_id)
        .options(defer(Generation.text))
    ).one()
    prompt = _prompt(session, generation.prompt_id, limit)
    model, *lineage = _models(session, generation.model_version_id)
    return as_row(
        GenerationOrigin,
        generation,
        completion=_cut(session, Generation, generation_id, limit),
        model=model,
        lineage=tuple(lineage),
        prompt_format=f"{prompt_format.name}@{prompt_format.version}",
        role=f"{role.name}@{role.version}",
        system=role.system,
        prompt_text=prompt.text if prompt is not None else None,
        prompt_token_ids=_token_ids(prompt.token_ids if prompt is not None else None),
        prompt_hash=prompt.content_hash if prompt is not None else None,
        sampling=dict(sampling.parameters),
        engine=engine,
        sweeps=_sweeps(session, generation_id),
    )


def _models(session: Session, model_id: int) -> list[ModelOrigin]:
    """Return a model version and what it was made from."""
    chain: list[ModelOrigin] = []
    following: int | None = model_id
    while following is not None:
        model = session.get_one(ModelVersion, following)
        chain.append(as_row(ModelOrigin, model))
        following = model.stored_id or model.base_id
    return chain


def _sweeps(session: Session, generation_id: int) -> tuple[tuple[int, str], ...]:
    return tuple(
        (sweep_id, name)
        for sweep_id, name in session.execute(
            select(Sweep.id, Sweep.name)
            .join(SweepGeneration)
            .where(SweepGeneration.generation_id == generation_id)
            .order_by(SweepGeneration.made_here.desc(), Sweep.id)
        )
    )


def _checks(session: Session, ref: Ref) -> tuple[tuple[str, str | None], ...]:
    if ref.kind != "variant" and ref.kind != "answer":
        return ()
    query = select(CheckFlag.name, CheckFlag.detail).where(FLAGGED[ref.kind] == ref.id)
    return tuple((name, detail) for name, detail in session.execute(query.order_by(CheckFlag.name)))


def _author(session: Session, rater_id: int | None) -> str | None:
    return session.get_one(Rater, rater_id).name if rater_id is not None else None


def _prompt(session: Session, prompt_id: int | None, limit: int | None) -> Any:
    """Return ``text``, ``token_ids`` and ``content_hash`` of a prompt; None where there is none."""
    text: ColumnElement[str] = Prompt.text.expression
    token_ids: ColumnElement[bytes | None] = Prompt.token_ids.expression
    if limit is not None:
        text, token_ids = func.substr(text, 1, limit), func.substr(token_ids, 1, 4 * limit)
    found = select(text.label("text"), token_ids.label("token_ids"), Prompt.content_hash)
    return session.execute(found.where(Prompt.id == prompt_id)).one_or_none()


def _token_ids(packed: bytes | None) -> tuple[int, ...] | None:
    return struct.unpack(f"<{len(packed) // 4}I", packed) if packed is not None else None


def _cut(session: Session, table: Any, text_id: int, limit: int | None) -> str | None:
    """Return a text, or its first characters, cut by the store."""
    wanted = table.text if limit is None else func.substr(table.text, 1, limit)
    found: str | None = session.scalar(select(wanted).where(table.id == text_id))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemText:
    """The begin of a text."""

    text: str
    """Empty for a generation that failed."""
    n_characters: int
    """Of the whole text."""


def item_text(session: Session, ref: Ref, limit: int | None) -> ItemText:
    """Return the text of a question, reasoning, answer or generation; all of it without ``limit``.

    Raises:
        UsageError: There is none with this id, or its kind has no text.
    """
    table = _WITH_TEXT.get(ref.kind)
    if table is None:
        raise UsageError(
            "{ref} is a {ref_kind}; a {ref_kind} has no text.", ref=ref, ref_kind=ref.kind
        )
    column = table.text
    shown = column if limit is None else func.substr(column, 1, limit)
    query = select(shown, func.length(column)).where(table.id == ref.id)
    found = existing(
        session.execute(query).one_or_none(),
        "There is no {ref_kind} {ref}.",
        ref_kind=ref.kind,
        ref=ref,
    )
    return ItemText(text=found[0] or "", n_characters=found[1] or 0)


def question_of(session: Session, ref: Ref) -> int:
    """Return the id of the question that a reasoning or an answer belongs to.

    Raises:
        UsageError: There is none with this id, or it is neither.
    """
    found = None
    if ref.kind == "variant" or ref.kind == "answer":
        table = TABLES[ref.kind]
        found = session.scalar(select(table.question_id).where(table.id == ref.id))
    return existing(found, "There is no reasoning or answer {ref}.", ref=ref)


def comparable(session: Session, ref: Ref, limit: int = 50) -> dict[str, str]:
    """Return the reasonings and answers of the same question: short name → excerpt.

    At most ``limit`` of each kind; texts of the same kind come first; of the answers, those under
    the same reasoning.
    """
    question_id = question_of(session, ref)
    variant_id: int | None = ref.id
    if ref.kind == "answer":
        variant_id = session.scalar(select(Answer.variant_id).where(Answer.id == ref.id))
    nearest = {
        "variant": (ReasoningVariant.id,),
        "answer": (func.coalesce(Answer.variant_id, 0) != (variant_id or 0), Answer.id),
    }
    found: dict[str, str] = {}
    for kind in TABLES if ref.kind == "variant" else reversed(TABLES):
        table = TABLES[kind]
        rows = session.execute(
            select(table.id, func.substr(table.text, 1, MAX_EXCERPT))
            .where(table.question_id == question_id)
            .order_by(*nearest[kind])
            .limit(limit)
        )
        found |= {str(Ref(kind, text_id)): excerpt for text_id, excerpt in rows}
    found.pop(str(ref), None)
    return found
