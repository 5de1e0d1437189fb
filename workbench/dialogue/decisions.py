"""What the person decides at a node, each decision an event with its reason.

Nothing here asks a model. All functions take the session of an open write transaction, and refuse
where the dialogue is paused or closed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from db.dialogues import (
    NodeRow,
    add_node,
    change_node,
    get_node,
    read_events,
    read_nodes,
)
from db.errors import UsageError
from db.input_text import plain
from db.questions import NewQuestion, add_child, get_question
from db.tables import MOVES, Answer
from workbench.dialogue.events import (
    By,
    current_node_id,
    merged_nodes,
    node_of,
    record,
)


def add_child_node(
    session: Session,
    node: NodeRow,
    text: str,
    move: str | None,
    *,
    source: str,
    state: str = "open",
) -> tuple[int, int]:
    """Add a question under ``node``, with the facts of the branch; return node and question.

    One that is there already is that node, whatever its state.

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


def choose(
    session: Session,
    dialogue_id: int,
    node_id: int,
    answer_id: int,
    by: By,
    *,
    reason: str | None = None,
) -> int:
    """Take an answer of the node as the one to go on from; return the event's id.

    Raises:
        UsageError: The answer belongs to another question.
    """
    node = node_of(session, dialogue_id, node_id)
    answer = session.get(Answer, answer_id)
    shown = read_events(session, dialogue_id, node_id=node_id, kinds=("answers_shown",))
    having = [one for one in shown if answer_id in one.payload["shown"] + one.payload["folded"]]
    if answer is None or not having:
        raise UsageError(
            "The answer a{answer_id} is not one of this question's.", answer_id=answer_id
        )
    change_node(session, node_id, state="answered")
    last = having[-1]
    return record(
        session,
        node,
        "choose",
        by,
        {"event": last.id, "over": [one for one in last.payload["shown"] if one != answer_id]},
        reason=reason,
        answer_id=answer_id,
        variant_id=answer.variant_id,
    )


def pick(
    session: Session,
    dialogue_id: int,
    node_id: int,
    event_id: int,
    place: int,
    by: By,
    *,
    text: str | None = None,
    reason: str | None = None,
) -> int:
    """Make a proposed question the next one, as it is or in the person's words; return the node.

    One that is here already is gone on from, and taken up again where it was parked. ``place`` is
    that of the candidate in the event ``event_id``; ``text`` of None takes it as proposed.

    Raises:
        UsageError: There is no such candidate, or the text is empty.
    """
    node = node_of(session, dialogue_id, node_id)
    candidate = candidate_of(session, node, event_id, place)
    words = candidate["text"] if text is None else plain(text)[0]
    _differs_from_here(candidate, words)
    is_edited = words != candidate["text"]
    child_id, question_id = add_child_node(
        session, node, words, candidate["move"], source="human" if is_edited else "model"
    )
    payload = {
        "event": event_id,
        "place": place,
        "proposed": candidate["text"],
        "move": candidate["move"],
        "is_edited": is_edited,
        "to": child_id,
    }
    _take_up(session, dialogue_id, child_id, by)
    record(session, node, "pick", by, payload, reason=reason, question_id=question_id)
    return child_id


def write(
    session: Session,
    dialogue_id: int,
    node_id: int,
    text: str,
    by: By,
    *,
    move: str | None = None,
    reason: str | None = None,
) -> int:
    """Make the person's own question the next one; return the node.

    Raises:
        UsageError: The text is empty, or the move is not known.
    """
    node = node_of(session, dialogue_id, node_id)
    if move is not None and move not in MOVES:
        raise UsageError(
            "There is no move {move!r}; known are {moves}.", move=move, moves=", ".join(MOVES)
        )
    child_id, question_id = add_child_node(session, node, plain(text)[0], move, source="human")
    payload = {"text": plain(text)[0], "move": move, "to": child_id}
    _take_up(session, dialogue_id, child_id, by)
    record(session, node, "write", by, payload, reason=reason, question_id=question_id)
    return child_id


def park(
    session: Session,
    dialogue_id: int,
    node_id: int,
    event_id: int,
    place: int,
    by: By,
    *,
    reason: str | None = None,
) -> int:
    """Keep a proposed question for later as a node of the tree; return the node.

    Raises:
        UsageError: There is no such candidate, or the tree has it already.
    """
    node = node_of(session, dialogue_id, node_id)
    candidate = candidate_of(session, node, event_id, place)
    _differs_from_here(candidate, candidate["text"])
    before = {one.id: one for one in read_nodes(session, dialogue_id)}
    child_id, question_id = add_child_node(
        session, node, candidate["text"], candidate["move"], source="model", state="parked"
    )
    if child_id in before:
        number = before[child_id].position + 1
        raise UsageError(
            "This is question {number} of the tree already; decide on it there.", number=number
        )
    payload = {"event": event_id, "place": place, "move": candidate["move"], "node": child_id}
    record(session, node, "park", by, payload, reason=reason, question_id=question_id)
    return child_id


def reject(
    session: Session,
    dialogue_id: int,
    node_id: int,
    event_id: int,
    place: int,
    by: By,
    *,
    reason: str | None = None,
) -> int:
    """Say that a proposed question is not worth asking; return the event's id."""
    node = node_of(session, dialogue_id, node_id)
    candidate = candidate_of(session, node, event_id, place)
    own = {name: candidate[name] for name in ("text", "move")}
    payload = {"event": event_id, "place": place, **own}
    return record(session, node, "reject", by, payload, reason=reason)


def merge(
    session: Session,
    dialogue_id: int,
    node_id: int,
    event_id: int,
    keep: int,
    others: Sequence[int],
    by: By,
    *,
    reason: str | None = None,
) -> int:
    """Say that proposed questions ask the same: ``keep`` stands for all; return the event's id."""
    node = node_of(session, dialogue_id, node_id)
    rest = [place for place in dict.fromkeys(others) if place != keep]
    if not rest:
        raise UsageError("Name at least two questions that ask the same.")
    for place in (keep, *rest):
        candidate_of(session, node, event_id, place)
    payload = {"event": event_id, "keep": keep, "others": rest}
    return record(session, node, "merge", by, payload, reason=reason)


def set_node_state(
    session: Session,
    dialogue_id: int,
    node_id: int,
    state: str,
    by: By,
    *,
    reason: str | None = None,
) -> int:
    """Park, reject or take up again a question of the tree; return the event's id."""
    kinds = {"parked": "park", "rejected": "reject", "open": "reopen"}
    if state not in kinds:
        raise UsageError(
            "A question can be {kinds}, not {state!r}.", kinds=", ".join(kinds), state=state
        )
    node = node_of(session, dialogue_id, node_id)
    was_answered = read_events(session, dialogue_id, node_id=node_id, kinds=("choose",))
    change_node(session, node_id, state="answered" if state == "open" and was_answered else state)
    return record(session, node, kinds[state], by, {"node": node_id}, reason=reason)


def go_to(
    session: Session, dialogue_id: int, node_id: int, by: By, *, reason: str | None = None
) -> int:
    """Go on from another node, e.g. back; return the event's id.

    One that was parked, rejected or merged into another one is taken up again.
    """
    node = node_of(session, dialogue_id, node_id)
    _take_up(session, dialogue_id, node_id, by)
    return record(session, node, "goto", by, {"to": node_id}, reason=reason)


def merge_nodes(
    session: Session,
    dialogue_id: int,
    keep_id: int,
    others: Sequence[int],
    by: By,
    *,
    reason: str | None = None,
) -> int:
    """Say that questions of the tree ask the same: ``keep_id`` stands for all.

    A person who is at one of the others goes on at the one that stays.
    Nothing is moved or deleted; what lies under a merged question stays where it is. Returns the
    event's id.

    Raises:
        UsageError: No other one is named, one is not there, or the first question or one that
            stands behind another already is among them.
    """
    keep = node_of(session, dialogue_id, keep_id)
    rest = [one for one in dict.fromkeys(others) if one != keep_id]
    if not rest:
        raise UsageError("Name at least two questions that ask the same.")
    events = read_events(session, dialogue_id)
    merged = merged_nodes(events)
    for one in (keep_id, *rest):
        number = get_node(session, dialogue_id, one).position + 1
        if one in merged:
            raise UsageError(
                "Another question stands for question {number} already; take it up again first.",
                number=number,
            )
        if number == 1 and one != keep_id:
            raise UsageError("The first question is the root of the tree: let it stand for others.")
    payload: dict[str, object] = {"keep": keep_id, "others": rest}
    if current_node_id(events) in rest:
        payload["to"] = keep_id
    return record(session, keep, "merge_nodes", by, payload, reason=reason)


def _take_up(session: Session, dialogue_id: int, node_id: int, by: By) -> None:
    """Take a question up again that was parked, rejected or merged into another one."""
    merges = read_events(session, dialogue_id, kinds=("merge_nodes", "reopen"))
    is_aside = get_node(session, dialogue_id, node_id).state in ("parked", "rejected")
    if is_aside or node_id in merged_nodes(merges):
        set_node_state(session, dialogue_id, node_id, "open", by)


def candidate_of(session: Session, node: NodeRow, event_id: int, place: int) -> Mapping[str, Any]:
    """Return a question that was proposed at ``node``.

    Raises:
        UsageError: There is none at this place.
    """
    events = read_events(session, node.dialogue_id, node_id=node.id, kinds=("questions_shown",))
    for event in events:
        if event.id == event_id and 0 <= place < len(event.payload["candidates"]):
            candidate: Mapping[str, Any] = event.payload["candidates"][place]
            return candidate
    raise UsageError("This question was not proposed here; look at the list once more.")


def _differs_from_here(candidate: Mapping[str, Any], words: str) -> None:
    """Refuse a proposal that is the question that one is at, unless its words were changed.

    Raises:
        UsageError: It is, and they were not.
    """
    if candidate.get("is_here") and words == candidate["text"]:
        raise UsageError(
            "This proposal is the question that you are at: take another one, or say in your own"
            " words what is still to be asked."
        )
