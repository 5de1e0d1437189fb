"""Reasonings and answers as plain rows, read in bulk: a fixed number of queries a list."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.errors import UsageError
from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    ModelVersion,
    PromptFormat,
    Question,
    Rater,
    ReasoningVariant,
    Role,
    Sampling,
    VariantParent,
)

ListedKind = Literal["variant", "answer"]
Text = type[ReasoningVariant] | type[Answer]
TABLES: dict[ListedKind, Text] = {"variant": ReasoningVariant, "answer": Answer}
FLAGGED: dict[ListedKind, InstrumentedAttribute[int | None]] = {
    "variant": CheckFlag.variant_id,
    "answer": CheckFlag.answer_id,
}
"""Columns of the text that a finding is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """One reasoning or answer, and what wrote it; safe to use after the session is closed."""

    kind: ListedKind
    id: int
    question_id: int
    question: str
    language: str | None
    """Of the question."""
    variant_id: int | None
    """The reasoning that an answer stands under; None for a reasoning."""
    text: str
    source: str
    author: str | None
    created_at: datetime
    flags: tuple[str, ...]
    """Names of what the checks found."""
    role: str
    generation_id: int | None
    """None where no engine wrote it; all that follows is then None as well."""
    mode: str | None
    prompt_format: str | None
    """Name and version, e.g. ``tagged@1``."""
    model: str | None
    sampling: dict[str, Any] | None
    replicate: int | None
    seed: int | None
    finish_reason: str | None
    completion_tokens: int | None
    latency_ms: float | None

    @property
    def ref(self) -> str:
        """Its short name, e.g. ``v12``."""
        return f"{self.kind[0]}{self.id}"


def read_texts(session: Session, kind: ListedKind, ids: Sequence[int]) -> dict[int, TextRow]:
    """Return the texts of ``kind`` with these ids, by id."""
    if not ids:
        return {}
    flags = read_flags(session, kind, ids)
    rows: dict[int, TextRow] = {}
    for row in session.execute(_details(kind).where(TABLES[kind].id.in_(ids))).mappings():
        values = dict(row)
        name, version = values.pop("format_name"), values.pop("format_version")
        values["prompt_format"] = f"{name}@{version}" if name else None
        values["role"] = values.pop("sent_role") or values["role"]
        rows[row["id"]] = TextRow(kind=kind, flags=tuple(flags[row["id"]]), **values)
    return rows


def read_mixed(session: Session, keys: Iterable[tuple[ListedKind, int]]) -> tuple[TextRow, ...]:
    """Return texts of both kinds in the order of ``keys``."""
    keys = list(keys)
    found = {
        kind: read_texts(session, kind, [text_id for own, text_id in keys if own == kind])
        for kind in TABLES
    }
    return tuple(found[kind][text_id] for kind, text_id in keys)


def _details(kind: ListedKind) -> Select[*tuple[Any, ...]]:
    table = TABLES[kind]
    given = Answer.variant_id if kind == "answer" else literal(None).label("variant_id")
    return (
        select(
            table.id,
            table.question_id,
            Question.text.label("question"),
            Question.language,
            given,
            table.text,
            table.source,
            Rater.name.label("author"),
            table.created_at,
            Question.role,
            Role.name.label("sent_role"),
            table.generation_id,
            Generation.mode,
            PromptFormat.name.label("format_name"),
            PromptFormat.version.label("format_version"),
            ModelVersion.name.label("model"),
            Sampling.parameters.label("sampling"),
            Generation.replicate,
            Generation.seed,
            Generation.finish_reason,
            Generation.completion_tokens,
            Generation.latency_ms,
        )
        .join(Question, Question.id == table.question_id)
        .outerjoin(Rater, Rater.id == table.author_id)
        .outerjoin(Generation, Generation.id == table.generation_id)
        .outerjoin(PromptFormat, PromptFormat.id == Generation.prompt_format_id)
        .outerjoin(Role, Role.id == Generation.role_id)
        .outerjoin(ModelVersion, ModelVersion.id == Generation.model_version_id)
        .outerjoin(Sampling, Sampling.id == Generation.sampling_id)
    )


def read_flags(
    session: Session, kind: ListedKind, ids: Sequence[int] | Select[int]
) -> defaultdict[int | None, list[str]]:
    """Return the names of what the checks found on these texts, by id."""
    flags: defaultdict[int | None, list[str]] = defaultdict(list)
    named = select(FLAGGED[kind], CheckFlag.name).where(FLAGGED[kind].in_(ids))
    for text_id, name in session.execute(named.order_by(CheckFlag.name)):
        flags[text_id].append(name)
    return flags


def read_parents(session: Session, variant_ids: Sequence[int]) -> defaultdict[int, list[int]]:
    """Return the variants that each of these was made from, in their order."""
    parents: defaultdict[int, list[int]] = defaultdict(list)
    for variant_id, parent_id in session.execute(
        select(VariantParent.variant_id, VariantParent.parent_id)
        .where(VariantParent.variant_id.in_(variant_ids))
        .order_by(VariantParent.position)
    ):
        parents[variant_id].append(parent_id)
    return parents


NO_QUESTIONS = (
    "There are no questions yet: bring yours with `q2q question import FILE`, or the examples with"
    " `q2q setup`."
)
NO_TEXTS = (
    "There are no reasonings and answers yet: run a sweep (`q2q sweep run"
    " examples/sweeps/first.yaml`), or import questions that have them."
)


def require_questions(session: Session) -> None:
    """Return if the store holds a question.

    Raises:
        UsageError: It holds none; the sentence says how to bring some.
    """
    if session.scalar(select(Question.id).limit(1)) is None:
        raise UsageError(NO_QUESTIONS)


def require_texts(session: Session) -> None:
    """Return if the store holds a reasoning or an answer.

    Raises:
        UsageError: It holds none, or not even a question.
    """
    require_questions(session)
    found = (session.scalar(select(table.id).limit(1)) for table in (ReasoningVariant, Answer))
    if all(one is None for one in found):
        raise UsageError(NO_TEXTS)
