"""Human (and model) judgement: axes, queues, ratings. Ratings are append-only facts."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Archivable, Base, Created, Hash

SCOPES = ("reasoning", "answer", "whole", "question")
OUTCOMES = ("a", "b", "tie", "both_bad")
ITEM_STATES = ("pending", "draft", "submitted", "skipped", "discarded")


class RatingAxis(Base):
    """One wording of a named scale, e.g. ``helpful_hint`` from 1 to 5; users define their own."""

    __tablename__ = "rating_axis"

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str]
    name: Mapped[str]
    definition: Mapped[dict[str, Any]]
    """Labels by language, and what each end means."""
    definition_hash: Mapped[Hash]
    created_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("scope", "name", "definition_hash"),
        CheckConstraint(f"scope IN {SCOPES}", name="scope"),
    )


class RatingQueue(Archivable, Base):
    """A list of things to rate, built from a sweep, a search, a dialogue or a dataset."""

    __tablename__ = "rating_queue"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    way: Mapped[str]
    """``pair``, ``single`` or ``table``."""
    scope: Mapped[str]
    spec: Mapped[dict[str, Any]]
    """What it was built from, the sampler, the overlap, what was left out and how many."""
    overlap: Mapped[int] = mapped_column(default=1)
    """Raters per item."""
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("way IN ('pair', 'single', 'table')", name="way"),
        CheckConstraint(f"scope IN {SCOPES}", name="scope"),
    )


class QueueItem(Base):
    """One card: one target, or two to compare."""

    __tablename__ = "queue_item"

    id: Mapped[int] = mapped_column(primary_key=True)
    queue_id: Mapped[int] = mapped_column(ForeignKey("rating_queue.id", ondelete="CASCADE"))
    position: Mapped[int]
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"))
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"))
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))
    other_variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"))
    other_answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))
    repeat_of_id: Mapped[int | None] = mapped_column(ForeignKey("queue_item.id"))
    """The item that this one repeats, hidden and in swapped order."""

    __table_args__ = (UniqueConstraint("queue_id", "position"),)


class QueueAssignment(Base):
    """Whose an item is, in a queue whose cards are shared out among named raters."""

    __tablename__ = "queue_assignment"

    item_id: Mapped[int] = mapped_column(
        ForeignKey("queue_item.id", ondelete="CASCADE"), primary_key=True
    )
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), primary_key=True, index=True)


class QueueItemState(Base):
    """How far one rater is with one item; the only rating table that is updated in place."""

    __tablename__ = "queue_item_state"

    item_id: Mapped[int] = mapped_column(
        ForeignKey("queue_item.id", ondelete="CASCADE"), primary_key=True
    )
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), primary_key=True, index=True)
    state: Mapped[str] = mapped_column(default="pending")
    draft: Mapped[dict[str, Any] | None]
    updated_at: Mapped[Created]

    __table_args__ = (CheckConstraint(f"state IN {ITEM_STATES}", name="state"),)


class Rating(Base):
    """One rater's judgement of one target on one axis, or of two targets against each other."""

    __tablename__ = "rating"

    id: Mapped[int] = mapped_column(primary_key=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), index=True)
    scope: Mapped[str]
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    """The question rated (scope ``question``), or the one that the target belongs to."""
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"), index=True)
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"), index=True)
    other_question_id: Mapped[int | None] = mapped_column(ForeignKey("question.id"))
    other_variant_id: Mapped[int | None] = mapped_column(
        ForeignKey("reasoning_variant.id"), index=True
    )
    other_answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"), index=True)
    axis: Mapped[str]
    """Name of the axis, or ``preference`` (a comparison), ``ok`` (OK or not), ``tag``, ``flag``."""
    axis_id: Mapped[int | None] = mapped_column(ForeignKey("rating_axis.id"))
    """How the axis was worded; None where that was not kept, or where it is no scale."""
    value: Mapped[float | None]
    outcome: Mapped[str | None]
    """``a`` = the first target is better, ``b`` = the other one."""
    label: Mapped[str | None]
    """The tag or flag given."""
    blind: Mapped[bool]
    swapped: Mapped[bool | None]
    """True where the other target was shown on the left."""
    answer_seen: Mapped[bool] = mapped_column(default=False)
    sampler: Mapped[str | None]
    seconds: Mapped[float | None]
    queue_item_id: Mapped[int | None] = mapped_column(ForeignKey("queue_item.id"), index=True)
    card_id: Mapped[str] = mapped_column(unique=True)
    """Made when the card was drawn, so that a double press stores one row."""
    undoes_id: Mapped[int | None] = mapped_column(ForeignKey("rating.id"), unique=True)
    is_adjudication: Mapped[bool] = mapped_column(default=False, server_default=false())
    """A person's verdict on what raters disagree about: it counts instead of theirs."""
    note: Mapped[str | None]
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint(f"scope IN {SCOPES}", name="scope"),
        CheckConstraint(f"outcome IS NULL OR outcome IN {OUTCOMES}", name="outcome"),
        CheckConstraint(
            "(scope = 'question' AND variant_id IS NULL AND answer_id IS NULL)"
            " OR (scope = 'reasoning' AND variant_id IS NOT NULL AND answer_id IS NULL)"
            " OR (scope IN ('answer', 'whole') AND answer_id IS NOT NULL)",
            name="target_fits_scope",
        ),
        CheckConstraint(
            "(outcome IS NULL) = (other_question_id IS NULL AND other_variant_id IS NULL"
            " AND other_answer_id IS NULL)",
            name="comparison_has_two",
        ),
        CheckConstraint(
            "undoes_id IS NOT NULL OR value IS NOT NULL OR outcome IS NOT NULL"
            " OR label IS NOT NULL",
            name="says_something",
        ),
        Index("ix_rating_rater_newest", "rater_id", "id"),
        Index(
            "ix_rating_adjudications",
            "question_id",
            sqlite_where=text("is_adjudication = 1"),
            postgresql_where=text("is_adjudication"),
        ),
        Index(
            "ix_rating_tags",
            "label",
            sqlite_where=text("axis = 'tag'"),
            postgresql_where=text("axis = 'tag'"),
        ),
        Index(
            "ix_rating_notes",
            "question_id",
            sqlite_where=text("note IS NOT NULL"),
            postgresql_where=text("note IS NOT NULL"),
        ),
    )
