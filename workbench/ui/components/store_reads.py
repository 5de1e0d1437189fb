"""Small reads that only the pages need: counts for Home, the children of a question."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.tables import Answer, Base, Question, ReasoningVariant, Sweep
from workbench.ui.home.view import StoreCounts


def count_store(session: Session) -> StoreCounts:
    """Return the counts of questions, reasonings, answers and sweeps that people started."""

    def rows_of(table: type[Base]) -> int:
        return session.scalar(select(func.count()).select_from(table)) or 0

    return StoreCounts(
        questions=rows_of(Question),
        variants=rows_of(ReasoningVariant),
        answers=rows_of(Answer),
        sweeps=session.scalar(select(func.count()).where(Sweep.purpose == "sweep")) or 0,
    )


def child_ids(session: Session, question_id: int) -> list[int]:
    """Return the questions that were made from this one by an edit or a dialogue."""
    query = select(Question.id).where(Question.parent_id == question_id).order_by(Question.id)
    return list(session.scalars(query))
