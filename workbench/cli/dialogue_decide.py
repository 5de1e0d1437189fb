"""Decisions of ``q2q dialogue`` that ask no model: go, park, reject, merge, note, tag, states."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from db.dialogues import get_node
from db.errors import UsageError
from db.rating.ratings import ensure_rater
from db.store.migrate import open_home
from workbench.cli.dialogue_options import As, DialogueId, Reason, candidate, node_of, number
from workbench.cli.output import Json, inform, show_done, show_json, show_table
from workbench.cli.typer_app import CommandGroup
from workbench.dialogue import additions, decisions
from workbench.dialogue.cards import node_view
from workbench.dialogue.decisions import go_to
from workbench.dialogue.events import By, here
from workbench.dialogue.lifecycle import STATES, change_state
from workbench.dialogue.tree import duplicates, read_tree

Proposed = Annotated[
    str, typer.Option("--question", help="A proposed question: its number in the list.")
]
Node = Annotated[str, typer.Option("--node", help="A question of the tree: its number.")]


def register(app: CommandGroup) -> None:
    """Add the commands to ``q2q dialogue``."""
    for command in (go, park, reject, merge, note, tag, pause, resume, close):
        app.as_command()(command)


def go(
    dialogue: DialogueId,
    node: Node,
    reason: Reason = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Go on from another question of the tree; one that was parked or merged is taken up again.

    Example:
      q2q dialogue go 1 --node 2 --reason "back to the costs"
    """

    def do(session: Session, dialogue_id: int, by: Any) -> None:
        go_to(
            session,
            dialogue_id,
            node_of(session, dialogue_id, number(node, "question")),
            by,
            reason=reason or None,
        )

    _decide(dialogue, rater, do)
    place = number(node, "question")
    show_done(f"Now at question {place}.", {"dialogue": number(dialogue), "at": place}, as_json)


def park(
    dialogue: DialogueId,
    question: Proposed = "",
    node: Node = "",
    reason: Reason = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Keep a proposed question, or one of the tree, for later.

    Example:
      q2q dialogue park 1 --question 3 --reason "after the costs are known"
    """
    _set_aside("park", dialogue, question, node, reason, rater, as_json)


def reject(
    dialogue: DialogueId,
    question: Proposed = "",
    node: Node = "",
    reason: Reason = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Say that a proposed question, or one of the tree, is not worth asking.

    Example:
      q2q dialogue reject 1 --question 2 --reason "too general"
    """
    _set_aside("reject", dialogue, question, node, reason, rater, as_json)


def merge(
    dialogue: DialogueId,
    question: Proposed = "",
    node: Node = "",
    same: Annotated[
        list[str], typer.Option("--same", help="One that asks the same; may be repeated.")
    ] = [],  # noqa: B006 - Typer reads the default
    reason: Reason = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Let one question stand for others that ask the same: proposed ones, or ones of the tree.

    Without a question nothing is merged: those of the tree whose wording asks the same are listed.

    Example:
      q2q dialogue merge 1 --node 2 --same 5 --same 7
    """
    if same and not (question or node):
        raise UsageError(
            "Nothing was merged: --same names those that ask the same. Name the one that stands for"
            " them too, with --question (a proposed one) or --node (one of the tree)."
        )
    if not (question or node):
        _list_duplicates(dialogue, as_json)
        return
    if question and node:
        raise UsageError("Name a proposed question or one of the tree, not both.")

    def do(session: Session, dialogue_id: int, by: Any) -> None:
        if node:
            ids = [node_of(session, dialogue_id, number(n, "question")) for n in (node, *same)]
            decisions.merge_nodes(session, dialogue_id, ids[0], ids[1:], by, reason=reason or None)
            return
        view = node_view(session, dialogue_id, here(session, dialogue_id))
        found = [candidate(view, one) for one in (question, *same)]
        places = [one.place for one in found]
        decisions.merge(
            session,
            dialogue_id,
            view.node.id,
            found[0].event_id,
            places[0],
            places[1:],
            by,
            reason=reason or None,
        )

    _decide(dialogue, rater, do)
    keep, others = number(node or question, "question"), [number(n, "question") for n in same]
    fields = {"dialogue": number(dialogue), "keep": keep, "same": others}
    show_done(f"Question {keep} stands for {', '.join(map(str, others))} too.", fields, as_json)


def note(
    dialogue: DialogueId,
    text: Annotated[str, typer.Argument(help="The note.")],
    node: Node = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Put a note on the question at hand, or on another one of the tree.

    Example:
      q2q dialogue note 1 "ask the shop owners about this"
    """
    found = _at(dialogue, node, rater, additions.note, text)
    show_done("Noted.", found | {"note": text}, as_json)


def tag(
    dialogue: DialogueId,
    tags: Annotated[list[str], typer.Argument(help="One or more tags.")],
    node: Node = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Put tags on the question at hand, or on another one of the tree.

    Example:
      q2q dialogue tag 1 costs "to be checked"
    """
    found = _at(dialogue, node, rater, additions.tag, tags)
    show_done("Tagged.", found | {"tags": tags}, as_json)


def pause(
    dialogue: DialogueId, reason: Reason = "", rater: As = "me", as_json: Json = False
) -> None:
    """Pause a dialogue: nothing happens in it until it is resumed.

    Example:
      q2q dialogue pause 1
    """
    _change_state(dialogue, "pause", reason, rater, as_json)


def resume(
    dialogue: DialogueId, reason: Reason = "", rater: As = "me", as_json: Json = False
) -> None:
    """Resume a dialogue that was paused or closed.

    Example:
      q2q dialogue resume 1
    """
    _change_state(dialogue, "resume", reason, rater, as_json)


def close(
    dialogue: DialogueId, reason: Reason = "", rater: As = "me", as_json: Json = False
) -> None:
    """Close a dialogue that came to its end; it can still be read, and resumed.

    Example:
      q2q dialogue close 1 --reason "we know what to ask the town"
    """
    _change_state(dialogue, "close", reason, rater, as_json)


def _decide(dialogue: str, rater: str, do: Callable[[Session, int, Any], object]) -> None:
    """Have ``do`` decide in a write transaction, under the rater's name."""
    with open_home() as (_, database), database.write() as session:
        do(session, number(dialogue), By(rater_id=ensure_rater(session, rater)))


def _at(
    dialogue: str, node: str, rater: str, decision: Callable[..., object], what: object
) -> dict[str, Any]:
    """Take a decision at a question of the tree, the one at hand if none is named."""
    found: dict[str, Any] = {"dialogue": number(dialogue)}

    def do(session: Session, dialogue_id: int, by: Any) -> None:
        node_id = (
            node_of(session, dialogue_id, number(node, "question"))
            if node
            else here(session, dialogue_id)
        )
        decision(session, dialogue_id, node_id, what, by)
        found["node"] = get_node(session, dialogue_id, node_id).position + 1

    _decide(dialogue, rater, do)
    return found


def _set_aside(
    what: str, dialogue: str, question: str, node: str, reason: str, rater: str, as_json: bool
) -> None:
    if bool(question) == bool(node):
        raise UsageError("Name a proposed question (--question) or one of the tree (--node).")
    state = {"park": "parked", "reject": "rejected"}[what]
    on_proposed = {"park": decisions.park, "reject": decisions.reject}[what]

    def do(session: Session, dialogue_id: int, by: Any) -> None:
        why = reason or None
        if node:
            node_id = node_of(session, dialogue_id, number(node, "question"))
            decisions.set_node_state(session, dialogue_id, node_id, state, by, reason=why)
            return
        view = node_view(session, dialogue_id, here(session, dialogue_id))
        one = candidate(view, question)
        on_proposed(session, dialogue_id, view.node.id, one.event_id, one.place, by, reason=why)

    _decide(dialogue, rater, do)
    place = number(node or question, "question")
    fields = {"dialogue": number(dialogue), "node" if node else "question": place, "state": state}
    show_done(f"Question {place} is {state}.", fields, as_json)


def _list_duplicates(dialogue: str, as_json: bool) -> None:
    with open_home() as (_, database), database.read() as session:
        tree = read_tree(session, number(dialogue))
    rows: list[dict[str, Any]] = [
        {
            "questions": [tree.node(one).position + 1 for one in group],
            "text": tree.node(group[0]).question,
        }
        for group in duplicates(tree)
    ]
    if as_json:
        show_json(rows)
        return
    if not rows:
        inform("No two questions of the tree ask the same in like words.")
        return
    show_table(rows, ("questions", "text"))
    keep, *others = rows[0]["questions"]
    named = " ".join(f"--same {one}" for one in others)
    inform(
        f"Nothing was merged. To merge: q2q dialogue merge {number(dialogue)} --node {keep} {named}"
    )


def _change_state(dialogue: str, what: str, reason: str, rater: str, as_json: bool) -> None:
    def do(session: Session, dialogue_id: int, by: Any) -> None:
        change_state(session, dialogue_id, what, by, reason=reason or None)

    _decide(dialogue, rater, do)
    fields = {"dialogue": number(dialogue), "state": STATES[what]}
    show_done(f"The dialogue is {STATES[what]}.", fields, as_json)
