"""What was asked, rejected or proposed in a session, as the guard against circles compares it."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import read_events
from db.tables import DialogueNode, Question

How = Literal["asked", "rejected", "proposed"]
"""A question of the tree; a proposal that was rejected, or that lies on the table already."""


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of a session."""

    node_id: int
    """Where it was asked, or proposed."""
    text: str
    how: How = "asked"


def earlier_questions(session: Session, dialogue_id: int) -> list[AskedQuestion]:
    """Return all questions of a session, also parked and rejected ones, oldest first."""
    rows = session.execute(
        select(DialogueNode.id, Question.text)
        .join(Question, Question.id == DialogueNode.question_id)
        .where(DialogueNode.dialogue_id == dialogue_id)
        .order_by(DialogueNode.position)
    )
    return [AskedQuestion(*row) for row in rows]


def earlier_proposals(session: Session, dialogue_id: int, node_id: int) -> list[AskedQuestion]:
    """Return proposals of a session that were rejected, and those that were shown at a node."""
    events = read_events(session, dialogue_id, kinds=("questions_shown", "reject"))
    found = [
        AskedQuestion(event.node_id, event.payload["text"], "rejected")
        for event in events
        if event.kind == "reject" and event.node_id is not None and "text" in event.payload
    ]
    for event in events:
        if event.kind == "questions_shown" and event.node_id == node_id:
            listed = event.payload["candidates"]
            shown = [listed[place]["text"] for place in event.payload["shown"]]
            found += [AskedQuestion(node_id, text, "proposed") for text in shown]
    return found
