"""What is said where a store holds nothing that a command could work on."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.tables import Answer, Question, ReasoningVariant

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
