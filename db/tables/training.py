"""From ratings to a model: datasets, training runs, proofs of merges, rounds."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Archivable, Base, Created, Sentence


class Dataset(Archivable, Base):
    """Rows chosen from the store by written rules; frozen with a hash."""

    __tablename__ = "dataset"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    """Of its rows: ``sft`` to imitate, ``dpo`` pairs, ``kto`` labelled; not how they train."""
    rules: Mapped[dict[str, Any]]
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Rows that each rule took and dropped, with the reason."""
    content_hash: Mapped[str | None]
    frozen_at: Mapped[datetime | None]
    created_at: Mapped[Created]

    __table_args__ = (CheckConstraint("kind IN ('sft', 'dpo', 'kto')", name="kind"),)


class DatasetRow(Base):
    """One training example, with what it was made from."""

    __tablename__ = "dataset_row"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    position: Mapped[int]
    split: Mapped[str] = mapped_column(default="train")
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"))
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))
    rejected_variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"))
    rejected_answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))
    target: Mapped[str]
    """``reasoning``, ``answer`` or ``whole``: what is to be learned."""
    label: Mapped[bool | None]
    payload: Mapped[dict[str, Any]]
    """The texts as frozen."""

    __table_args__ = (
        UniqueConstraint("dataset_id", "position"),
        CheckConstraint("split IN ('train', 'held_out')", name="split"),
    )


class DatasetRowRating(Base):
    """A rating that put a row into a dataset."""

    __tablename__ = "dataset_row_rating"

    row_id: Mapped[int] = mapped_column(
        ForeignKey("dataset_row.id", ondelete="CASCADE"), primary_key=True
    )
    rating_id: Mapped[int] = mapped_column(ForeignKey("rating.id"), primary_key=True, index=True)


class RowScore(Base):
    """How likely a model finds what is to be learned from one row of a dataset."""

    __tablename__ = "row_score"

    id: Mapped[int] = mapped_column(primary_key=True)
    row_id: Mapped[int] = mapped_column(ForeignKey("dataset_row.id", ondelete="CASCADE"))
    prompt_format_id: Mapped[int] = mapped_column(ForeignKey("prompt_format.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    log_prob: Mapped[float | None]
    """Sum of natural-log probabilities over the tokens to learn, the stop token included."""
    n_tokens: Mapped[int | None]
    error: Mapped[Sentence | None]
    """Why it has no score, in one sentence, e.g. that it is too long."""
    created_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("row_id", "prompt_format_id", "model_version_id"),
        CheckConstraint("(error IS NULL) = (log_prob IS NOT NULL)", name="score_or_error"),
        CheckConstraint("(log_prob IS NULL) = (n_tokens IS NULL)", name="tokens_if_scored"),
    )


class TrainingRun(Archivable, Base):
    """One training of an adapter."""

    __tablename__ = "training_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    base_model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    adapter_model_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    method: Mapped[str]
    """A name in ``training.methods``, which alone says what names there are."""
    config: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default="queued")
    folder: Mapped[str | None]
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Package versions, git commit, hardware."""
    summary: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[Sentence | None]
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'done', 'cancelled', 'failed')", name="state"
        ),
    )


class TrainingMetric(Base):
    """One measured value at one step of a run."""

    __tablename__ = "training_metric"

    run_id: Mapped[int] = mapped_column(
        ForeignKey("training_run.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]


class MergeProof(Base):
    """The checks of one merged model; all must pass before it is used."""

    __tablename__ = "merge_proof"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    adapter_model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    passed: Mapped[bool]
    created_at: Mapped[Created]


class ProofCheck(Base):
    """One check of a proof, with what was measured and what was allowed."""

    __tablename__ = "proof_check"

    proof_id: Mapped[int] = mapped_column(
        ForeignKey("merge_proof.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    passed: Mapped[bool]
    measured: Mapped[float | None]
    tolerance: Mapped[float | None]
    detail: Mapped[str | None]


class Round(Base):
    """Dataset → training → merge → proof → served → compared with the round before."""

    __tablename__ = "round"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    config: Mapped[dict[str, Any]]
    step: Mapped[str] = mapped_column(default="dataset")
    state: Mapped[str] = mapped_column(default="open")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("round.id"))
    starts_from_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("dataset.id"))
    training_run_id: Mapped[int | None] = mapped_column(ForeignKey("training_run.id"))
    merged_model_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    sweep_id: Mapped[int | None] = mapped_column(ForeignKey("sweep.id"))
    """The held-out sweep."""
    verdict: Mapped[str | None]
    reason: Mapped[str | None]
    """In words: those of a person, or the English ones for ``findings``."""
    findings: Mapped[dict[str, Any] | None]
    """What the figures came to, as values that each language has its words for; None where a person
    gave the reason."""
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint(
            "verdict IS NULL OR verdict IN ('keep', 'drop', 'branch', 'not_enough_questions')",
            name="verdict",
        ),
        CheckConstraint("state IN ('open', 'waiting', 'running', 'done', 'failed')", name="state"),
    )
