"""What a person adds at a question: a reasoning, a fact, a note, tags.

All functions take the session of an open write transaction, and refuse where the dialogue is paused
or closed.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from db.dialogues import change_node
from db.errors import UsageError
from db.input_text import plain, problem_of
from db.questions import NewQuestion, add_child, get_question, tag_questions
from serving.reasonings import save_reasoning
from workbench.dialogue.events import By, node_of, one_line, record


def _author_of(by: By) -> int:
    """Return who writes; a reasoning of a person has an author."""
    if by.rater_id is None:
        raise UsageError("Say who writes it: a reasoning of a person has an author.")
    return by.rater_id


def write_hint(session: Session, dialogue_id: int, node_id: int, text: str, by: By) -> int:
    """Store a reasoning that the person wrote for the node's question; return the variant's id.

    Raises:
        UsageError: It is empty, or nobody wrote it.
    """
    node = node_of(session, dialogue_id, node_id)
    variant_id = save_reasoning(session, node.question_id, text, _author_of(by))
    record(session, node, "hint", by, {}, variant_id=variant_id)
    return variant_id


def edit_reasoning(
    session: Session, dialogue_id: int, node_id: int, variant_id: int, text: str, by: By
) -> int:
    """Store what the person made of a reasoning; return the new variant's id.

    Raises:
        UsageError: Nothing was changed, or it belongs to another question.
    """
    node = node_of(session, dialogue_id, node_id)
    new_id = save_reasoning(
        session, node.question_id, text, _author_of(by), parent_ids=[variant_id]
    )
    record(session, node, "edit", by, {"from": variant_id}, variant_id=new_id)
    return new_id


def add_fact(
    session: Session, dialogue_id: int, node_id: int, text: str, source: str, by: By
) -> int:
    """Give the node's question a fact as context, for it and all that follow; return the question.

    The question with the fact is a question of its own, a child of the one before: answers that
    are there already were written without it, and stay.

    Raises:
        UsageError: The fact is empty.
    """
    node = node_of(session, dialogue_id, node_id)
    fact, where = plain(text)[0], one_line(source, "source")
    if not fact:
        raise UsageError("The fact is empty; paste at least one word.")
    old = get_question(session, node.question_id)
    line = f"- {fact}" + (f" (source: {where})" if where else "")
    context = f"{old.context}\n{line}" if old.context else f"Facts:\n{line}"
    new = NewQuestion(
        text=old.text, context=context, role=old.role, language=old.language, source=old.source
    )
    question_id, _ = add_child(session, old.id, new, "fact")
    change_node(session, node_id, question_id=question_id)
    record(
        session,
        node,
        "fact",
        by,
        {"text": fact, "source": where, "before": old.id},
        question_id=question_id,
    )
    return question_id


def note(session: Session, dialogue_id: int, node_id: int, text: str, by: By) -> int:
    """Put a note on a node; return the event's id.

    Raises:
        UsageError: It is empty, or cannot be stored.
    """
    node = node_of(session, dialogue_id, node_id)
    words = plain(text)[0]
    if not words:
        raise UsageError("The note is empty.")
    if problem := problem_of(words):
        raise UsageError("The note {problem}", problem=problem)
    return record(session, node, "note", by, {"text": words})


def tag(session: Session, dialogue_id: int, node_id: int, tags: Sequence[str], by: By) -> int:
    """Put tags on the node's question; return the event's id.

    Raises:
        UsageError: There is none, or one is too long.
    """
    node = node_of(session, dialogue_id, node_id)
    names = [name for one in tags if (name := one_line(one, "tag"))]
    if not names:
        raise UsageError("Name at least one tag.")
    tag_questions(session, [node.question_id], names)
    return record(session, node, "tag", by, {"tags": names})
