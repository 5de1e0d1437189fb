"""Question-to-question dialogues: a tree of questions under a theme, and the decisions made."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Archivable, Base, Created, MessageJson


class Dialogue(Archivable, Base):
    """A tree of question nodes under a theme."""

    __tablename__ = "dialogue_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    theme_id: Mapped[int] = mapped_column(ForeignKey("theme.id"), index=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(default="open")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Model, format, sampling and counts of its turns."""
    forked_from_node_id: Mapped[int | None] = mapped_column(
        ForeignKey("dialogue_node.id", use_alter=True)
    )
    created_at: Mapped[Created]

    __table_args__ = (CheckConstraint("state IN ('open', 'paused', 'closed')", name="state"),)


class DialogueNode(Base):
    """One question in the tree of a dialogue."""

    __tablename__ = "dialogue_node"

    id: Mapped[int] = mapped_column(primary_key=True)
    dialogue_id: Mapped[int] = mapped_column(
        "session_id", ForeignKey("dialogue_session.id", ondelete="CASCADE")
    )
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("dialogue_node.id"), index=True)
    position: Mapped[int]
    state: Mapped[str] = mapped_column(default="open")
    created_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("session_id", "position"),
        CheckConstraint("state IN ('open', 'answered', 'parked', 'rejected')", name="state"),
    )


class DialogueEvent(Base):
    """A decision or a step, append-only; keeps the candidates shown, their order and the reason."""

    __tablename__ = "dialogue_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    dialogue_id: Mapped[int] = mapped_column(
        "session_id", ForeignKey("dialogue_session.id", ondelete="CASCADE")
    )
    node_id: Mapped[int | None] = mapped_column(ForeignKey("dialogue_node.id"), index=True)
    kind: Mapped[str]
    """E.g. ``shown``, ``pick``, ``edit``, ``write``, ``park``, ``reject``, ``fork``, ``fact``."""
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("reasoning_variant.id"))
    question_id: Mapped[int | None] = mapped_column(ForeignKey("question.id"))
    payload: Mapped[dict[str, Any]] = mapped_column(MessageJson, default=dict)
    reason: Mapped[str | None]
    rater_id: Mapped[int | None] = mapped_column(ForeignKey("rater.id"))
    automatic: Mapped[bool] = mapped_column(default=False)
    """True where nobody chose."""
    step_id: Mapped[int | None] = mapped_column(
        ForeignKey("dialogue_event.id"), index=True, unique=True
    )
    """The event that began the step whose end this one tells; a step ends once."""
    created_at: Mapped[Created]
