"""What people bring: themes, questions, tags, roles, prompt formats, raters."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Archivable, Base, Created, Hash

ROLES = ("assistant", "translator", "creator", "logician")
"""The four built-in roles; users may add more."""

MOVES = (
    "deepen",
    "unfold",
    "rebut",
    "gap",
    "decompose",
    "ground",
    "reframe",
    "synthesise",
)
"""Kinds of a next question in a dialogue."""


class Theme(Base):
    """What a dialogue is about."""

    __tablename__ = "theme"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    concept: Mapped[str]
    goal: Mapped[str]
    opposing_goal: Mapped[str | None]
    audience: Mapped[str | None]
    points_of_view: Mapped[list[Any]] = mapped_column(default=list)
    language: Mapped[str | None]
    created_at: Mapped[Created]


class Question(Archivable, Base):
    """A text to be answered. The text is immutable: an edit is a child question."""

    __tablename__ = "question"

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[Hash] = mapped_column(unique=True)
    """Hash of text, context and role; importing the same question again adds nothing."""
    text: Mapped[str]
    context: Mapped[str] = mapped_column(default="")
    """The Alpaca ``input``; empty where there is none."""
    reference_answer: Mapped[str | None]
    answer_check: Mapped[str | None]
    """How answers are compared with the reference answer; see ``serving.correctness``."""
    role: Mapped[str] = mapped_column(default="assistant", index=True)
    category: Mapped[str | None] = mapped_column(index=True)
    language: Mapped[str | None] = mapped_column(index=True)
    """ISO 639-1 code."""
    source: Mapped[str] = mapped_column(default="human")
    """``human``, ``imported``, ``example`` or ``model``."""
    external_id: Mapped[str | None]
    """The id that the imported file gave it."""
    fields: Mapped[str | None]
    """What else its row of the file held: column → value, as a JSON object."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("question.id"), index=True)
    root_id: Mapped[int | None] = mapped_column(ForeignKey("question.id"), index=True)
    """The first ancestor; NULL for a root."""
    move: Mapped[str | None]
    """The move that made it from its parent, or ``edit``."""
    held_out: Mapped[bool | None]
    """Fixed once at the root and inherited; NULL = not yet fixed."""
    in_pool: Mapped[bool] = mapped_column(default=True, server_default=true())
    """False: a dialogue brought it up and nobody took it into the pool; "all questions" are without
    it."""
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("length(text) > 0", name="text_given"),
        CheckConstraint("(parent_id IS NULL) = (root_id IS NULL)", name="root_with_parent"),
    )


class Tag(Base):
    """A word that people put on questions and texts to find them again."""

    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class QuestionTag(Base):
    """A tag on a question."""

    __tablename__ = "question_tag"

    question_id: Mapped[int] = mapped_column(
        ForeignKey("question.id", ondelete="CASCADE"), primary_key=True
    )
    tag_id: Mapped[int] = mapped_column(
        ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class Role(Base):
    """A version of a role: the persona that ``flag`` chooses, with its system message."""

    __tablename__ = "role"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    system: Mapped[str]
    definition_hash: Mapped[Hash]
    created_at: Mapped[Created]

    __table_args__ = (UniqueConstraint("name", "version"),)


class PromptFormat(Base):
    """A version of a prompt format; a used one is never edited."""

    __tablename__ = "prompt_format"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    definition: Mapped[dict[str, Any]]
    definition_hash: Mapped[Hash]
    created_at: Mapped[Created]

    __table_args__ = (UniqueConstraint("name", "version"),)


class Rater(Archivable, Base):
    """A person, or a model; figures never mix the two."""

    __tablename__ = "rater"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(default="person")
    model_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("kind IN ('person', 'model')", name="kind"),
        CheckConstraint("(kind = 'model') = (model_version_id IS NOT NULL)", name="model_known"),
    )


_NEWEST = Question.created_at.desc(), Question.id.desc()
for _name, _where in {
    "newest": Question.archived_at.is_(None),
    "archived": Question.archived_at.is_not(None),
    "proposed": Question.in_pool.is_(False),
}.items():
    Index(f"ix_question_{_name}", *_NEWEST, sqlite_where=_where, postgresql_where=_where)
