"""What all decisions share: node, next question, event; which question stands for which."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from db.dialogues import EventRow, NewEvent, NodeRow, add_event, add_node, get_node, read_nodes
from db.errors import UsageError
from db.input_text import plain, problem_of
from db.questions import NewQuestion, add_child, get_question
from workbench.dialogue.turn import By, open_dialogue

MOST_LINE = 500
"""Characters of a reason, a name, a tag, and of the source of a fact."""


def node_of(session: Session, dialogue_id: int, node_id: int) -> NodeRow:
    """Return a node of a session that something may happen in."""
    open_dialogue(session, dialogue_id)
    return get_node(session, dialogue_id, node_id)


def add_child_node(
    session: Session,
    node: NodeRow,
    text: str,
    move: str | None,
    *,
    source: str,
    state: str = "open",
) -> tuple[int, int]:
    """Hang a question under ``node``, with the facts of the branch; return node and question.

    One that hangs there already is that node, whatever its state.

    Raises:
        UsageError: It is the question of ``node`` itself, or no text.
    """
    parent = get_question(session, node.question_id)
    new = NewQuestion(
        text=text,
        context=parent.context,
        role=parent.role,
        language=parent.language,
        source=source,
    )
    question_id, _ = add_child(session, parent.id, new, move)
    if question_id == parent.id:
        raise UsageError("This is the question that you are at; change it, or ask another one.")
    for one in read_nodes(session, node.dialogue_id):
        if (one.parent_id, one.question_id) == (node.id, question_id):
            return one.id, question_id
    return add_node(session, node.dialogue_id, question_id, node.id, state=state), question_id


def decide(
    session: Session,
    node: NodeRow,
    kind: str,
    by: By,
    payload: Mapping[str, Any],
    *,
    reason: str | None = None,
    **refs: int | None,
) -> int:
    """Add the event; ``refs`` are answer_id, variant_id and question_id."""
    new = NewEvent(
        dialogue_id=node.dialogue_id,
        kind=kind,
        node_id=node.id,
        payload=payload,
        reason=one_line(reason or "", "reason") or None,
        rater_id=by.rater_id,
        automatic=by.automatic,
        **{"question_id": node.question_id, **refs},
    )
    return add_event(session, new)


def one_line(text: str, what: str) -> str:
    """Return ``text`` on one line.

    Raises:
        UsageError: It is too long or cannot be stored; the sentence calls it ``what``.
    """
    line = " ".join(plain(text)[0].split())
    if problem := problem_of(line[:MOST_LINE]):
        raise UsageError(f"The {what} {problem}")
    if len(line) > MOST_LINE:
        raise UsageError(f"The {what} has {len(line)} characters; {MOST_LINE} fit.")
    return line


def author_of(by: By) -> int:
    """Return who writes; a reasoning of a person has an author."""
    if by.rater_id is None:
        raise UsageError("Say who writes it: a reasoning of a person has an author.")
    return by.rater_id


def merged_nodes(events: Sequence[EventRow]) -> dict[int, int]:
    """Return which node stands for which others, from the events of a session, oldest first.

    A question that was taken up again stands for itself.
    """
    direct: dict[int, int] = {}
    for event in events:
        if event.kind == "merge_nodes":
            direct |= dict.fromkeys(event.payload["others"], event.payload["keep"])
        elif event.kind == "reopen":
            direct.pop(event.payload["node"], None)
    return {one: _last(one, direct) for one in direct}


def _last(node_id: int, direct: Mapping[int, int]) -> int:
    while node_id in direct:
        node_id = direct[node_id]
    return node_id
