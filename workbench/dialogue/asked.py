"""All questions that were asked in a session, as the guard against circles compares them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import DialogueNode, Question


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of a session."""

    node_id: int
    text: str


def earlier_questions(session: Session, dialogue_id: int) -> list[AskedQuestion]:
    """Return all questions of a session, also parked and rejected ones, oldest first."""
    rows = session.execute(
        select(DialogueNode.id, Question.text)
        .join(Question, Question.id == DialogueNode.question_id)
        .where(DialogueNode.session_id == dialogue_id)
        .order_by(DialogueNode.position)
    )
    return [AskedQuestion(*row) for row in rows]
