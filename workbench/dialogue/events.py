"""Events of a dialogue: added with who caused them, and read for where the dialogue stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.dialogues import (
    DialogueRow,
    EventRow,
    NewEvent,
    NodeRow,
    add_event,
    get_dialogue,
    get_node,
    read_events,
)
from db.errors import UsageError
from db.input_text import plain, problem_of

MAX_LINE = 500
"""Characters of a reason, a name, a tag, and of the source of a fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who or what started a step or took a decision."""

    rater_id: int | None = None
    automatic: bool = False
    """Nobody chose: it happened within the turns that were asked for."""
    job_id: int | None = None
    """The job that runs the sweeps itself; None queues one for each step."""


def record(
    session: Session,
    at: NodeRow | int,
    kind: str,
    by: By,
    payload: Mapping[str, Any],
    *,
    reason: str | None = None,
    **refs: int | None,
) -> int:
    """Add an event and return its id.

    Args:
        session: Of an open write transaction.
        at: The node where it happened; the dialogue, where it concerns all of it.
        kind: Of the event.
        by: Who or what caused it.
        payload: What it keeps.
        reason: Why, in one line.
        refs: ``answer_id``, ``variant_id``, and ``question_id`` where it is not the node's.
    """
    where: dict[str, int | None] = {}
    dialogue_id = at if isinstance(at, int) else at.dialogue_id
    if not isinstance(at, int):
        where = {"node_id": at.id, "question_id": at.question_id}
    new = NewEvent(
        dialogue_id=dialogue_id,
        kind=kind,
        payload=payload,
        reason=one_line(reason or "", "reason") or None,
        rater_id=by.rater_id,
        automatic=by.automatic,
        **{**where, **refs},
    )
    return add_event(session, new)


def one_line(text: str, what: str) -> str:
    """Return ``text`` on one line.

    Raises:
        UsageError: It is too long or cannot be stored; the sentence calls it ``what``.
    """
    line = " ".join(plain(text)[0].split())
    if problem := problem_of(line[:MAX_LINE]):
        raise UsageError("The {what} {problem}", what=what, problem=problem)
    if len(line) > MAX_LINE:
        raise UsageError(
            "The {what} has {n} characters; {most} fit.",
            what=what,
            n=len(line),
            most=MAX_LINE,
        )
    return line


def open_dialogue(session: Session, dialogue_id: int) -> DialogueRow:
    """Return a dialogue that something may happen in.

    Raises:
        UsageError: There is none, or it is paused or closed.
    """
    dialogue = get_dialogue(session, dialogue_id)
    if dialogue.state != "open":
        raise UsageError(
            "The dialogue {dialogue_name!r} is {state}; resume it first.",
            dialogue_name=dialogue.name,
            state=dialogue.state,
        )
    return dialogue


def node_of(session: Session, dialogue_id: int, node_id: int) -> NodeRow:
    """Return a node of a dialogue that something may happen in."""
    open_dialogue(session, dialogue_id)
    return get_node(session, dialogue_id, node_id)


def open_steps(events: Sequence[EventRow]) -> list[EventRow]:
    """Return those of ``events`` that began a step whose end no other one tells."""
    ended = {event.step_id for event in events}
    begun = [one for one in events if "sweep_id" in one.payload and one.step_id is None]
    return [event for event in begun if event.id not in ended]


def job_of(step: EventRow) -> int | None:
    """Return the job of a step, or of turns that run by themselves; None where it has none."""
    job_id: int | None = step.payload.get("job_id") or step.payload.get("auto_job_id")
    return job_id


def current_node_id(events: Sequence[EventRow]) -> int | None:
    """Return where the person is, from the events of a dialogue."""
    return next(
        (int(event.payload["to"]) for event in reversed(events) if "to" in event.payload), None
    )


def merged_nodes(events: Sequence[EventRow]) -> dict[int, int]:
    """Return which node stands for which others, from the events of a dialogue, oldest first.

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


def here(session: Session, dialogue_id: int) -> int:
    """Return the node that the person is at.

    Raises:
        UsageError: There is no such dialogue.
    """
    get_dialogue(session, dialogue_id)
    node_id = current_node_id(read_events(session, dialogue_id))
    if node_id is None:
        raise UsageError("The dialogue {dialogue_id} has no question.", dialogue_id=dialogue_id)
    return node_id
