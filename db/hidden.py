"""Rows of an import that is under way are there for nobody: every select leaves them out.

The ranges of such rows are looked up once a transaction, before its first select. While no import
is under way there are none, and selects stay as they are. SQL written by hand asks ``hidden``.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, event, select
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, with_loader_criteria

from db.tables import (
    Answer,
    CheckFlag,
    Question,
    QuestionTag,
    Rating,
    ReasoningVariant,
    SentenceUse,
    StagedRange,
)

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
