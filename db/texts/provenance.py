"""How a text came to be: everything the store knows of what wrote it."""

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from db.errors import UsageError
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
    VariantParent,
)
from db.texts.rows import TABLES, ListedKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrigin:
    """The weights that wrote a text."""

    id: int
    name: str
    kind: str
    digest: str | None
    """None for a declared model, whose weights nobody has seen."""
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


def provenance(session: Session, ref: Ref | str, *, most: int | None = None) -> Provenance:
    """Return how the text ``ref`` (``v12``, ``a12`` or ``g12``) came to be.

    Args:
        session: Of the store.
        ref: Its short name.
        most: Characters read of the text, the prompt and the completion each, and token ids of the
            prompt; None: all.

    Raises:
        UsageError: There is none with this id, or its kind has no text of an engine.
    """
    ref = parse_ref(ref) if isinstance(ref, str) else ref
    if ref.kind == "variant":
        return _of_variant(session, ref, most)
    if ref.kind == "answer":
        return _of_answer(session, ref, most)
    if ref.kind == "generation":
        return _of_generation(session, ref, most)
    raise UsageError(f"{ref} is a {ref.kind}; give a reasoning (v12), an answer (a12) or a g12.")


def _of_variant(session: Session, ref: Ref, most: int | None) -> Provenance:
    text = ReasoningVariant.text
    variant = _found(session.get(ReasoningVariant, ref.id, options=[defer(text)]), ref)
    parents = session.scalars(
        select(VariantParent.parent_id)
        .where(VariantParent.variant_id == ref.id)
        .order_by(VariantParent.position)
    )
    return Provenance(
        ref=ref,
        question=get_question(session, variant.question_id),
        text=_cut(session, ReasoningVariant.text, ReasoningVariant.id == ref.id, most),
        source=variant.source,
        author=_author(session, variant.author_id),
        note=variant.note,
        created_at=variant.created_at,
        parents=tuple(Ref("variant", parent_id) for parent_id in parents),
        checks=_checks(session, ref),
        generation=_origin(session, variant.generation_id, most),
    )


def _of_answer(session: Session, ref: Ref, most: int | None) -> Provenance:
    answer = _found(session.get(Answer, ref.id, options=[defer(Answer.text)]), ref)
    parents = [Ref("variant", answer.variant_id)] if answer.variant_id else []
    parents += [Ref("answer", answer.parent_id)] if answer.parent_id else []
    return Provenance(
        ref=ref,
        question=get_question(session, answer.question_id),
        text=_cut(session, Answer.text, Answer.id == ref.id, most),
        source=answer.source,
        author=_author(session, answer.author_id),
        note=None,
        created_at=answer.created_at,
        parents=tuple(parents),
        checks=_checks(session, ref),
        generation=_origin(session, answer.generation_id, most),
    )


def _of_generation(session: Session, ref: Ref, most: int | None) -> Provenance:
    generation = _found(session.get(Generation, ref.id, options=[defer(Generation.text)]), ref)
    parents = [Ref("variant", generation.variant_id)] if generation.variant_id else []
    return Provenance(
        ref=ref,
        question=get_question(session, generation.question_id),
        text=_cut(session, Generation.text, Generation.id == ref.id, most),
        source=None,
        author=None,
        note=None,
        created_at=generation.created_at,
        parents=tuple(parents),
        checks=(),
        generation=_origin(session, generation.id, most),
    )


def _origin(
    session: Session, generation_id: int | None, most: int | None
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
    prompt = _prompt(session, generation.prompt_id, most)
    model, *lineage = _models(session, generation.model_version_id)
    own = {name: getattr(generation, name) for name in _OWN}
    return GenerationOrigin(
        **own,
        completion=_cut(session, Generation.text, Generation.id == generation_id, most),
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


_OWN = (
    "id", "kind", "mode", "ok", "slot_key", "attempt", "replicate", "seed", "request_id",
    "choice_index", "engine_version", "error", "finish_reason", "stop_reason", "prompt_tokens",
    "completion_tokens", "latency_ms", "created_at",
)  # fmt: skip
"""What a generation tells of itself, under the same name."""


def _models(session: Session, model_id: int) -> list[ModelOrigin]:
    """Return a model version and what it was made from."""
    chain: list[ModelOrigin] = []
    following: int | None = model_id
    while following is not None:
        model = session.get_one(ModelVersion, following)
        chain.append(ModelOrigin(**{name: getattr(model, name) for name in ModelOrigin.__slots__}))
        following = model.base_id
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
    target = CheckFlag.variant_id if ref.kind == "variant" else CheckFlag.answer_id
    return tuple(
        (name, detail)
        for name, detail in session.execute(
            select(CheckFlag.name, CheckFlag.detail)
            .where(target == ref.id)
            .order_by(CheckFlag.name)
        )
    )


def _author(session: Session, rater_id: int | None) -> str | None:
    return session.get_one(Rater, rater_id).name if rater_id is not None else None


def _prompt(session: Session, prompt_id: int | None, most: int | None) -> Any:
    """Return ``text``, ``token_ids`` and ``content_hash`` of a prompt; None where there is none."""
    text: ColumnElement[str] = Prompt.text.expression
    token_ids: ColumnElement[bytes | None] = Prompt.token_ids.expression
    if most is not None:
        text, token_ids = func.substr(text, 1, most), func.substr(token_ids, 1, 4 * most)
    found = select(text.label("text"), token_ids.label("token_ids"), Prompt.content_hash)
    return session.execute(found.where(Prompt.id == prompt_id)).one_or_none()


def _token_ids(packed: bytes | None) -> tuple[int, ...] | None:
    return struct.unpack(f"<{len(packed) // 4}I", packed) if packed is not None else None


def _cut(
    session: Session,
    column: InstrumentedAttribute[T],
    own: ColumnElement[bool],
    most: int | None,
) -> T | None:
    """Return a text, or its first characters, cut by the store."""
    wanted = column if most is None else func.substr(column, 1, most)
    return session.scalar(select(wanted).where(own))


def _found(row: T | None, ref: Ref) -> T:
    if row is None:
        raise UsageError(f"There is no {ref.kind} {ref}.")
    return row


WORDS = 80
"""Characters that name a text in a list."""
_TEXTS: dict[str, InstrumentedAttribute[Any]] = {
    "question": Question.text,
    "variant": ReasoningVariant.text,
    "answer": Answer.text,
    "generation": Generation.text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemText:
    """The begin of a text."""

    text: str
    """Empty for a generation that failed."""
    n_characters: int
    """Of the whole text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedText:
    """A text by its short name and its first words."""

    ref: Ref
    words: str


def item_text(session: Session, ref: Ref, most: int | None) -> ItemText:
    """Return the text of a question, reasoning, answer or generation; all of it without ``most``.

    Raises:
        UsageError: There is none with this id, or its kind has no text.
    """
    if ref.kind not in _TEXTS:
        raise UsageError(f"{ref} is a {ref.kind}; a {ref.kind} has no text.")
    column = _TEXTS[ref.kind]
    shown = column if most is None else func.substr(column, 1, most)
    query = select(shown, func.length(column)).where(column.class_.id == ref.id)
    found = session.execute(query).one_or_none()
    if found is None:
        raise UsageError(f"There is no {ref.kind} {ref}.")
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
    if found is None:
        raise UsageError(f"There is no reasoning or answer {ref}.")
    return found


def comparable(session: Session, ref: Ref, most: int = 50) -> list[NamedText]:
    """Return the reasonings and answers of the same question, each kind at most ``most``.

    Texts of the same kind come first; of the answers, those under the same reasoning.
    """
    question_id = question_of(session, ref)
    variant_id = ref.id if ref.kind == "variant" else _reasoning_of(session, ref)
    nearest = {
        "variant": (ReasoningVariant.id,),
        "answer": (func.coalesce(Answer.variant_id, 0) != (variant_id or 0), Answer.id),
    }
    kinds: tuple[ListedKind, ...] = ("variant", "answer")
    found = []
    for kind in kinds if ref.kind == "variant" else reversed(kinds):
        table = TABLES[kind]
        rows = session.execute(
            select(table.id, func.substr(table.text, 1, WORDS))
            .where(table.question_id == question_id)
            .order_by(*nearest[kind])
            .limit(most)
        )
        found += [NamedText(ref=Ref(kind, text_id), words=words) for text_id, words in rows]
    return [one for one in found if one.ref != ref]


def _reasoning_of(session: Session, ref: Ref) -> int | None:
    return session.scalar(select(Answer.variant_id).where(Answer.id == ref.id))
