"""What engines wrote and how it came to be: prompts, sweeps, generations, texts, checks."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Archivable, Base, Created, Hash, Sentence

MODES = ("reasoning", "supplied", "vanilla", "rationalise", "ensemble")
VARIANT_SOURCES = ("model", "human", "edited", "imported", "control")
ANSWER_SOURCES = ("model", "human", "edited", "imported")


class Sampling(Base):
    """One resolved set of sampling parameters: every parameter that was sent."""

    __tablename__ = "sampling"

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[Hash] = mapped_column(unique=True)
    parameters: Mapped[dict[str, Any]]


class Prompt(Base):
    """The exact prompt that was sent."""

    __tablename__ = "prompt"

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[Hash] = mapped_column(unique=True)
    """Hash of the tokenizer hash and the token ids (of the text, where only text could be sent)."""
    text: Mapped[str]
    token_ids: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Little-endian unsigned 32-bit ids; NULL where the engine takes no ids."""
    n_tokens: Mapped[int | None]


class Sweep(Archivable, Base):
    """A designed experiment: factors and levels over questions. Its unit is the slot."""

    __tablename__ = "sweep"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    purpose: Mapped[str] = mapped_column(default="sweep")
    """``sweep``, or a small run through the same runner: ``edit``, ``turn``, ``replay``."""
    spec: Mapped[dict[str, Any]]
    """The spec as given, with defaults filled in; replays the sweep."""
    spec_hash: Mapped[Hash] = mapped_column(index=True)
    plan: Mapped[dict[str, Any]]
    """What its names stood for when planned: ids of questions, formats, roles, models, variants."""
    state: Mapped[str] = mapped_column(default="planned")
    n_reasoning_slots: Mapped[int]
    n_answer_slots: Mapped[int]
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    active_s: Mapped[float] = mapped_column(default=0.0)
    """Seconds in which it ran, over all resumes."""
    error: Mapped[Sentence | None]
    max_tokens: Mapped[int | None] = mapped_column(BigInteger)
    """Its budget, as last set: tokens of prompts and completions that it may take."""
    max_cost: Mapped[float | None]
    """The same in US dollars."""
    spent_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    """By the usage of its own requests, failed texts included, over all resumes."""
    spent_cost: Mapped[float] = mapped_column(default=0.0)
    """In US dollars, at the prices of the time."""

    __table_args__ = (
        CheckConstraint(
            "state IN ('planned', 'queued', 'running', 'done', 'cancelled', 'failed')", name="state"
        ),
    )


class Generation(Base):
    """One choice of one request, good or failed. Append-only.

    A row is one attempt at a slot; a slot has at most one ``ok`` attempt.
    """

    __tablename__ = "generation"

    id: Mapped[int] = mapped_column(primary_key=True)
    slot_key: Mapped[Hash]
    """Hash of all that changes the result, the replicate included; see ``db.identity.slot_key``."""
    attempt: Mapped[int] = mapped_column(default=1)
    kind: Mapped[str]
    """``reasoning`` (makes a variant), ``answer``, ``whole`` (both in one pass), or ``questions``:
    what a dialogue has written beside these, of which no variant or answer is made."""
    ok: Mapped[bool]
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    variant_id: Mapped[int | None] = mapped_column(
        ForeignKey("reasoning_variant.id", use_alter=True), index=True
    )
    """The variant that an answer was written under."""
    mode: Mapped[str]
    prompt_format_id: Mapped[int] = mapped_column(ForeignKey("prompt_format.id"))
    role_id: Mapped[int] = mapped_column(ForeignKey("role.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    engine_id: Mapped[int | None] = mapped_column(ForeignKey("engine.id"))
    sampling_id: Mapped[int] = mapped_column(ForeignKey("sampling.id"))
    prompt_id: Mapped[int | None] = mapped_column(ForeignKey("prompt.id"))
    replicate: Mapped[int]
    """i < k for a reasoning, j < n for an answer."""
    seed: Mapped[int | None] = mapped_column(BigInteger)
    request_id: Mapped[str | None]
    choice_index: Mapped[int | None]
    """Place of this choice in its request."""
    text: Mapped[str | None]
    """The completion as the engine gave it."""
    error: Mapped[Sentence | None]
    """What went wrong, in one sentence."""
    finish_reason: Mapped[str | None]
    stop_reason: Mapped[str | None]
    """The stop string or token that ended it."""
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    latency_ms: Mapped[float | None]
    """From sending the request to its answer; shared by all choices of a request."""
    engine_version: Mapped[str | None]
    created_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("slot_key", "attempt"),
        Index(
            "uq_generation_one_ok",
            "slot_key",
            unique=True,
            sqlite_where=sql("ok"),
            postgresql_where=sql("ok"),
        ),
        CheckConstraint("kind IN ('reasoning', 'answer', 'whole', 'questions')", name="kind"),
        CheckConstraint(f"mode IN {MODES}", name="mode"),
        CheckConstraint("ok = (text IS NOT NULL)", name="text_if_ok"),
        CheckConstraint("ok = (error IS NULL)", name="error_if_failed"),
        CheckConstraint("attempt >= 1 AND replicate >= 0", name="counts"),
    )


class SweepGeneration(Base):
    """A generation that a sweep shows as its own; sweeps share generations."""

    __tablename__ = "sweep_generation"

    sweep_id: Mapped[int] = mapped_column(
        ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True
    )
    generation_id: Mapped[int] = mapped_column(
        ForeignKey("generation.id"), primary_key=True, index=True
    )
    made_here: Mapped[bool]
    """False where an earlier sweep had sampled the slot already."""


class ReasoningVariant(Base):
    """One reasoning for one question; data with an author and parents."""

    __tablename__ = "reasoning_variant"

    id: Mapped[int] = mapped_column(primary_key=True)
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"))
    text: Mapped[str]
    source: Mapped[str]
    generation_id: Mapped[int | None] = mapped_column(ForeignKey("generation.id"), unique=True)
    content_hash: Mapped[Hash]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("rater.id"))
    """The person who wrote or edited it."""
    note: Mapped[str | None]
    created_at: Mapped[Created]

    __table_args__ = (
        Index("ix_reasoning_variant_content", "question_id", "content_hash"),
        Index("ix_reasoning_variant_newest", "created_at", "id"),
        CheckConstraint(f"source IN {VARIANT_SOURCES}", name="source"),
        CheckConstraint(
            "(source = 'model') = (generation_id IS NOT NULL)", name="model_generation"
        ),
    )


class VariantParent(Base):
    """A variant made from another: edited, merged with a second one, or a control of it."""

    __tablename__ = "variant_parent"

    variant_id: Mapped[int] = mapped_column(
        ForeignKey("reasoning_variant.id", ondelete="CASCADE"), primary_key=True
    )
    parent_id: Mapped[int] = mapped_column(
        ForeignKey("reasoning_variant.id"), primary_key=True, index=True
    )
    position: Mapped[int] = mapped_column(default=0)


class Answer(Base):
    """One response to a question under one reasoning variant, or under none."""

    __tablename__ = "answer"

    id: Mapped[int] = mapped_column(primary_key=True)
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"))
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"), index=True)
    text: Mapped[str]
    source: Mapped[str]
    generation_id: Mapped[int | None] = mapped_column(ForeignKey("generation.id"), unique=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))
    """The answer that a person edited."""
    content_hash: Mapped[Hash]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("rater.id"))
    created_at: Mapped[Created]

    __table_args__ = (
        Index("ix_answer_content", "question_id", "content_hash"),
        Index("ix_answer_newest", "created_at", "id"),
        CheckConstraint(f"source IN {ANSWER_SOURCES}", name="source"),
        CheckConstraint(
            "(source = 'model') = (generation_id IS NOT NULL)", name="model_generation"
        ),
    )


class CheckFlag(Base):
    """An automatic finding on a reasoning or an answer."""

    __tablename__ = "check_flag"

    id: Mapped[int] = mapped_column(primary_key=True)
    variant_id: Mapped[int | None] = mapped_column(
        ForeignKey("reasoning_variant.id", ondelete="CASCADE")
    )
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(index=True)
    """Which check, e.g. ``answer_leak``; see ``serving.checks``."""
    detail: Mapped[str | None]
    """What was found, e.g. the words or the count."""

    __table_args__ = (
        CheckConstraint("(variant_id IS NULL) <> (answer_id IS NULL)", name="one_target"),
        UniqueConstraint("variant_id", "name"),
        UniqueConstraint("answer_id", "name"),
    )


class AnswerGrade(Base):
    """Whether an answer is correct by the check of its question. Append-only but for its end.

    A change of the check, of the reference answer or of the program adds another one.
    """

    __tablename__ = "answer_grade"

    id: Mapped[int] = mapped_column(primary_key=True)
    answer_id: Mapped[int] = mapped_column(ForeignKey("answer.id", ondelete="CASCADE"), index=True)
    answer_check: Mapped[str]
    """Name and argument of the check, e.g. ``number:1%``."""
    check_key: Mapped[Hash]
    """Hash of the check, its version and the reference answer."""
    correct: Mapped[bool | None]
    """None where it cannot be told: the reference answer does not fit the check."""
    found: Mapped[str]
    """What was read from the answer, or why nothing can be told."""
    is_current: Mapped[bool] = mapped_column(default=True)
    """False once another one took its place, or the question has no check any more."""
    created_at: Mapped[Created]

    __table_args__ = (
        Index(
            "uq_answer_grade_current",
            "answer_id",
            unique=True,
            sqlite_where=sql("is_current"),
            postgresql_where=sql("is_current"),
        ),
    )


class SentenceUse(Base):
    """A sentence that occurs in a text; how boilerplate under many questions is found."""

    __tablename__ = "sentence_use"

    id: Mapped[int] = mapped_column(primary_key=True)
    sentence_hash: Mapped[int] = mapped_column(BigInteger)
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"))
    variant_id: Mapped[int | None] = mapped_column(
        ForeignKey("reasoning_variant.id", ondelete="CASCADE"), index=True
    )
    answer_id: Mapped[int | None] = mapped_column(
        ForeignKey("answer.id", ondelete="CASCADE"), index=True
    )

    __table_args__ = (
        Index("ix_sentence_use_hash", "sentence_hash", "question_id"),
        CheckConstraint("(variant_id IS NULL) <> (answer_id IS NULL)", name="one_target"),
    )


class AnswerScore(Base):
    """How likely an engine finds an answer under a reasoning (or with the question withheld)."""

    __tablename__ = "answer_score"

    id: Mapped[int] = mapped_column(primary_key=True)
    answer_id: Mapped[int] = mapped_column(ForeignKey("answer.id"), index=True)
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"), index=True)
    """The reasoning it was scored under, not always its own; None: under none."""
    prompt_format_id: Mapped[int] = mapped_column(ForeignKey("prompt_format.id"))
    role_id: Mapped[int] = mapped_column(ForeignKey("role.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    """The model that scored it."""
    prompt_id: Mapped[int | None] = mapped_column(ForeignKey("prompt.id"))
    """The prompt, without the answer; None where none could be made."""
    question_withheld: Mapped[bool] = mapped_column(default=False)
    log_prob: Mapped[float | None]
    """Sum of natural-log probabilities over the answer's tokens; None where it has no score."""
    n_tokens: Mapped[int | None]
    error: Mapped[Sentence | None]
    """Why it has no score, in one sentence, e.g. that it is too long."""
    created_at: Mapped[Created]

    __table_args__ = (
        Index(
            "uq_answer_score_under",
            "answer_id",
            "variant_id",
            "prompt_format_id",
            "role_id",
            "model_version_id",
            "question_withheld",
            unique=True,
        ),
        Index(
            "uq_answer_score_without",
            "answer_id",
            "prompt_format_id",
            "role_id",
            "model_version_id",
            "question_withheld",
            unique=True,
            sqlite_where=sql("variant_id IS NULL"),
            postgresql_where=sql("variant_id IS NULL"),
        ),
        CheckConstraint("(error IS NULL) = (log_prob IS NOT NULL)", name="score_or_error"),
        CheckConstraint("(log_prob IS NULL) = (n_tokens IS NULL)", name="tokens_if_scored"),
        # A failure that gives way to a score never leaves its id behind: the newest id tells a
        # reader whether anything changed.
        {"sqlite_autoincrement": True},
    )
