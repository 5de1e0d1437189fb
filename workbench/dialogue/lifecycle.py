"""Dialogues from begin to end: new, forked, paused, resumed, closed."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from sqlalchemy.orm import Session

from db.dialogues import (
    DialogueRow,
    NewEvent,
    add_event,
    add_node,
    change_settings,
    create_dialogue,
    get_dialogue,
    get_node,
    read_events,
    read_nodes,
    set_dialogue_state,
)
from db.errors import UsageError
from db.questions import NewQuestion, add_question
from workbench.dialogue.events import By, one_line, record
from workbench.dialogue.settings import DialogueSettings, ThemeFile, parse_settings, store_theme

STATES = {"pause": "paused", "resume": "open", "close": "closed"}
CARRIED = ("choose", "fact", "answers_shown", "answer")
"""Events of a path that a fork takes along."""
ORIGINS = ("pick", "write", "import")
"""Events that led from one node of the path to the next."""


def new_dialogue(
    session: Session,
    theme: ThemeFile,
    by: By,
    *,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Store a theme, and a dialogue about it with its first question; return the dialogue's id.

    Args:
        session: Of an open write transaction.
        theme: The theme.
        by: Who begins it.
        name: What lists call the dialogue, in one line; None: as the theme.
        settings: What differs from the theme's own settings.

    Raises:
        UsageError: The settings are wrong, the name is too long, or another theme of this name
            is in use.
    """
    chosen = parse_settings(theme.settings.model_dump() | dict(settings or {}))
    theme_id = store_theme(session, theme)
    question_id, _ = add_question(
        session,
        NewQuestion(text=theme.question, role=chosen.role, language=theme.language),
    )
    dialogue_id = create_dialogue(
        session,
        theme_id,
        one_line(name or "", "name") or theme.name,
        chosen.model_dump(mode="json"),
    )
    node_id = add_node(session, dialogue_id, question_id)
    record(session, get_node(session, dialogue_id, node_id), "start", by, {"to": node_id})
    return dialogue_id


def fork(
    session: Session,
    dialogue_id: int,
    node_id: int,
    by: By,
    *,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> int:
    """Begin a dialogue of its own at a node, with the path that led there; return its id.

    The questions, facts and chosen answers of the path are the same ones; what is asked or decided
    from here on belongs to the fork alone.

    Raises:
        UsageError: There is no such node, the settings are wrong, or name or reason too long.
    """
    old = get_dialogue(session, dialogue_id)
    get_node(session, dialogue_id, node_id)
    chosen = _changed(old, settings or {})
    new_id = create_dialogue(
        session,
        old.theme.id,
        one_line(name or "", "name") or f"{old.name} (fork)",
        chosen.model_dump(mode="json"),
        forked_from_node_id=node_id,
    )
    copies = _copy_path(session, dialogue_id, node_id, new_id)
    here = copies[node_id]
    origin = {"from_dialogue": dialogue_id, "from_node": node_id, "to": here}
    record(session, new_id, "fork", by, origin, node_id=here, reason=reason)
    made = {"to_dialogue": new_id}
    record(session, dialogue_id, "forked", by, made, node_id=node_id, reason=reason)
    return new_id


def _changed(dialogue: DialogueRow, changes: Mapping[str, Any]) -> DialogueSettings:
    """Return the settings of a dialogue with some changed.

    Raises:
        UsageError: One is wrong, or belongs to the questions that are there.
    """
    new = parse_settings({**dialogue.settings, **changes})
    if new.role != parse_settings(dialogue.settings).role:
        raise UsageError(
            "The role belongs to the questions that are there: begin a new dialogue, or replay"
            " this one in another role."
        )
    return new


def _copy_path(session: Session, dialogue_id: int, node_id: int, new_id: int) -> dict[int, int]:
    """Copy the nodes from the root to ``node_id`` and what was decided there; return old → new."""
    nodes = {node.id: node for node in read_nodes(session, dialogue_id)}
    path = [nodes[node_id]]
    while path[0].parent_id is not None:
        path.insert(0, nodes[path[0].parent_id])
    copies: dict[int, int] = {}
    for node in path:
        parent_id = None if node.parent_id is None else copies[node.parent_id]
        copies[node.id] = add_node(session, new_id, node.question_id, parent_id, state=node.state)
    kinds = (*CARRIED, *ORIGINS)
    events = {event.id: event for event in read_events(session, dialogue_id, kinds=kinds)}
    new_events: dict[int, int] = {}
    ended = {event.step_id for event in events.values()}
    for event in events.values():
        is_step_under_way = event.kind == "answer" and event.id not in ended
        leads_to = event.payload.get("to") if event.kind in ORIGINS else None
        if event.node_id not in copies or is_step_under_way:
            continue
        if event.kind in ORIGINS and leads_to not in copies:
            continue
        payload = dict(event.payload) | {"copied_from": event.id}
        if leads_to is not None:
            payload["to"] = copies[leads_to]
        new = NewEvent(**{one.name: getattr(event, one.name) for one in fields(NewEvent)})
        new_events[event.id] = add_event(
            session,
            replace(
                new,
                dialogue_id=new_id,
                node_id=copies[event.node_id],
                payload=payload,
                step_id=new_events[event.step_id] if event.step_id is not None else None,
            ),
        )
    return copies


def change_state(
    session: Session, dialogue_id: int, what: str, by: By, *, reason: str | None = None
) -> None:
    """``pause``, ``resume`` or ``close`` a dialogue; nothing happens in one that is not open.

    Raises:
        UsageError: There is no such dialogue, it is in that state already, or the reason is too
            long.
    """
    state = STATES[what]
    dialogue = get_dialogue(session, dialogue_id)
    if dialogue.state == state:
        raise UsageError(
            "The dialogue {dialogue_name!r} is {state} already.",
            dialogue_name=dialogue.name,
            state=state,
        )
    set_dialogue_state(session, dialogue_id, state)
    record(session, dialogue_id, what, by, {}, reason=reason)


def set_settings(session: Session, dialogue_id: int, changes: Mapping[str, Any], by: By) -> None:
    """Change how further turns are written; what was changed is told by an event.

    Raises:
        UsageError: There is no such dialogue, or a setting is wrong.
    """
    dialogue = get_dialogue(session, dialogue_id)
    new = _changed(dialogue, changes)
    change_settings(session, dialogue_id, new.model_dump(mode="json"))
    record(session, dialogue_id, "settings", by, dict(changes))
