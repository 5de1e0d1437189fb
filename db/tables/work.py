"""Long work, staged imports and the words for search: what the program keeps for itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Connection,
    ForeignKey,
    Index,
    UniqueConstraint,
    event,
    select,
)
from sqlalchemy.orm import (
    Mapped,
    ORMExecuteState,
    Session,
    SessionTransaction,
    mapped_column,
    with_loader_criteria,
)

from db.tables.base import Base, Created, Hash, Sentence
from db.tables.generations import Answer, CheckFlag, ReasoningVariant, SentenceUse
from db.tables.library import Question, QuestionTag
from db.tables.ratings import Rating


class Job(Base):
    """One piece of long work: state, progress, heartbeat, cancel."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """``sweep``, ``serve``, ``probe``; later ``train``, ``merge``, ``verify``, ``round``."""
    lane: Mapped[str]
    """``server``: runs beside others; ``device``: needs the device to itself."""
    priority: Mapped[int] = mapped_column(default=0)
    """Lower runs first; interactive work is negative."""
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sweep_id: Mapped[int | None] = mapped_column(ForeignKey("sweep.id"), index=True)
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    """The one worker that shall run it, e.g. since its own server is meant; None: any."""
    state: Mapped[str] = mapped_column(default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    message: Mapped[Sentence | None]
    """What it does now, in one sentence."""
    error: Mapped[Sentence | None]
    result: Mapped[dict[str, Any] | None]
    owner: Mapped[str | None]
    """The worker that holds it: host, process id and a random part."""
    heartbeat_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    starts: Mapped[int] = mapped_column(default=0)
    """How often a worker began it; more than one means that a worker died."""
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("lane IN ('server', 'device')", name="lane"),
        CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"
        ),
        Index("ix_job_state_priority", "state", "priority", "id"),
    )


class SearchText(Base):
    """The search terms of one text. Full-text indexes of both databases read this table."""

    __tablename__ = "search_text"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """``question``, ``variant`` or ``answer``."""
    text_id: Mapped[int]
    terms: Mapped[str]
    """Words in lower case, and character pairs of Japanese and Chinese, separated by spaces."""

    __table_args__ = (Index("uq_search_text_target", "kind", "text_id", unique=True),)


class StagedRange(Base):
    """The ids that an unfinished import keeps for its rows in one table; nobody sees these rows.

    Deleting the ranges publishes the import, all of it at once.
    """

    __tablename__ = "staged_range"

    table_name: Mapped[str] = mapped_column(primary_key=True)
    first_id: Mapped[int]
    last_id: Mapped[int]


class PendingChange(Base):
    """What an import adds to a row that was there before; applied once the import is published."""

    __tablename__ = "pending_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """``details`` or ``tag`` of a question, ``variant_flag`` or ``answer_flag``."""
    row_id: Mapped[int]
    """Id of the question, reasoning or answer."""
    payload: Mapped[dict[str, Any]]


Ranges = Mapping[str, tuple[int, int]]
"""Table → first and last id."""
WITH_HIDDEN: Mapping[str, Any] = {"q2q_with_hidden": True}
"""Execution options of a select that shall see such rows."""
_KEY = "q2q_hidden"
_COLUMNS = {
    Question: ("question", Question.id),
    QuestionTag: ("question", QuestionTag.question_id),
    ReasoningVariant: ("reasoning_variant", ReasoningVariant.id),
    Answer: ("answer", Answer.id),
    CheckFlag: ("check_flag", CheckFlag.id),
    SentenceUse: ("sentence_use", SentenceUse.id),
    Rating: ("rating", Rating.id),
}
_RANGES = select(
    StagedRange.__table__.c.table_name,
    StagedRange.__table__.c.first_id,
    StagedRange.__table__.c.last_id,
)


def hidden(session: Session) -> Ranges:
    """Return the ranges of rows that are there for nobody yet."""
    ranges: Ranges | None = session.info.get(_KEY)
    if ranges is None:
        found = session.connection().execute(_RANGES)
        ranges = session.info[_KEY] = {name: (first, last) for name, first, last in found}
    return ranges


def is_hidden(session: Session, table: str, row_id: int) -> bool:
    """Tell whether a row belongs to an import that is under way."""
    first, last = hidden(session).get(table, (1, 0))
    return first <= row_id <= last


@event.listens_for(Session, "after_begin")
def _forget(session: Session, _: SessionTransaction, __: Connection) -> None:
    session.info.pop(_KEY, None)


@event.listens_for(Session, "do_orm_execute")
def _leave_out(state: ORMExecuteState) -> None:
    if not state.is_select or state.execution_options.get("q2q_with_hidden"):
        return
    ranges = hidden(state.session)
    if ranges:
        state.statement = state.statement.options(
            *(
                with_loader_criteria(entity, ~column.between(*ranges[table]), include_aliases=True)
                for entity, (table, column) in _COLUMNS.items()
                if table in ranges
            )
        )


class Worker(Base):
    """A home whose worker runs jobs of this store; alive as long as its heartbeat is fresh."""

    __tablename__ = "worker"

    id: Mapped[int] = mapped_column(primary_key=True)
    host: Mapped[str]
    home: Mapped[str]
    """Its ``Q2Q_HOME``."""
    job_ids: Mapped[list[Any]] = mapped_column(default=list)
    """Jobs that it works at now, its own and those that it joined."""
    started_at: Mapped[Created]
    heartbeat_at: Mapped[datetime | None]
    """By the clock of the database; None once it has ended cleanly."""

    __table_args__ = (UniqueConstraint("host", "home"),)


class SweepChunk(Base):
    """Some questions of a sweep that several workers run: one worker at a time has them."""

    __tablename__ = "sweep_chunk"

    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    pass_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Place of its first question in the plan of the sweep."""
    size: Mapped[int]
    """Number of its questions."""
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    """Who has it, or had it to its end."""
    ended: Mapped[bool] = mapped_column(default=False)
    """Every slot has come to an end, and is stored."""
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    blocked: Mapped[int] = mapped_column(default=0)
    tokens: Mapped[int] = mapped_column(default=0)
    """Of the texts that its worker has written."""

    __table_args__ = (Index("ix_sweep_chunk_worker_id", "worker_id"),)


class SlotClaim(Base):
    """A slot that a worker samples now, in whatever sweep: nobody else samples it meanwhile."""

    __tablename__ = "slot_claim"

    slot_key: Mapped[Hash] = mapped_column(primary_key=True)
    worker_id: Mapped[int] = mapped_column(ForeignKey("worker.id"), index=True)
