"""A whole dialogue with all its texts: what reports and exports are made of."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db.dialogues import EventRow, list_dialogues, read_events
from workbench.dialogue.cards import (
    AnswerCard,
    Candidate,
    answer_cards,
    candidates_of,
)
from workbench.dialogue.outcomes import OutcomeContext, how_taken, read_outcome_context
from workbench.dialogue.replay import Replay, read_replay, replays
from workbench.dialogue.synopsis import Synopsis, read_synopsis
from workbench.dialogue.tree import Tree, TreeNode, read_tree

DECISIONS = (
    "choose",
    "pick",
    "write",
    "park",
    "reject",
    "merge",
    "merge_nodes",
    "reopen",
    "goto",
    "fork",
    "forked",
)
"""Kinds of events that a person decided by, or turns that ran by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided, by whom and why."""

    kind: str
    called: str
    """The kind; of a pick, whether it is ``taken``, ``edited`` or the person's ``own``."""
    text: str | None
    """The question, or the dialogue, that it is about, where it is about one."""
    reason: str | None
    by: str | None
    """Name of the person."""
    automatic: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact that a person pasted."""

    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the audience, played by a model, said of two answers that it read in this order."""

    first: AnswerCard
    other: AnswerCard
    better: AnswerCard | None
    """None: neither."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedQuestion:
    """One question with all that happened at it."""

    number: int
    """In the order in which the questions came up, from 1."""
    node: TreeNode
    chosen: AnswerCard | None
    others: tuple[AnswerCard, ...]
    """Answers that were not chosen."""
    candidates: tuple[Candidate, ...]
    """Of all askings."""
    facts: tuple[Fact, ...]
    judged: tuple[Judged, ...]
    decisions: tuple[Decision, ...]
    replayed: tuple[tuple[Replay, tuple[str, ...]], ...]
    """Each replay with the answers that it brought to this question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueExport:
    """A whole dialogue."""

    tree: Tree
    nodes: tuple[ExportedQuestion, ...]
    """Branch by branch: a node is followed by what came of it."""
    synopsis: Synopsis | None
    replays: tuple[Replay, ...]
    state_reason: str | None
    """Why the dialogue is paused or closed."""
    people: tuple[str, ...]
    began_at: datetime
    ended_at: datetime

    def number(self, node_id: int) -> int:
        """Return the number of a node."""
        return self.tree.node(node_id).position + 1


def read_export(session: Session, dialogue_id: int) -> DialogueExport:
    """Return a dialogue with all its texts, in a fixed number of queries.

    Raises:
        UsageError: There is no such dialogue.
    """
    tree = read_tree(session, dialogue_id)
    events = read_events(session, dialogue_id)
    by_node: defaultdict[int, list[EventRow]] = defaultdict(list)
    for event in events:
        if event.node_id is not None:
            by_node[event.node_id].append(event)
    cards = answer_cards(session, events)
    texts = {node.id: node.question for node in tree.nodes}
    context = read_outcome_context(session, dialogue_id)
    again = [
        read_replay(session, dialogue_id, event.payload["replay_sweep_id"])
        for event in replays(session, dialogue_id)
    ]
    forks = {one.id: one.name for one in list_dialogues(session, archived=None)}
    nodes = [
        ExportedQuestion(
            number=node.position + 1,
            node=node,
            chosen=next((one for one in cards.get(node.id, ()) if one.is_chosen), None),
            others=tuple(one for one in cards.get(node.id, ()) if not one.is_chosen),
            candidates=tuple(
                one
                for event in own
                if event.kind == "questions_shown"
                for one in candidates_of(event, own, context)
            ),
            facts=tuple(
                Fact(text=event.payload["text"], source=event.payload["source"])
                for event in own
                if event.kind == "fact"
            ),
            judged=tuple(_judged(own, {one.answer.id: one for one in cards.get(node.id, ())})),
            decisions=tuple(_decisions(own, texts, context, forks)),
            replayed=tuple((it, lines) for it in again if (lines := _answers_of(it, node.id))),
        )
        for node in tree.by_branch()
        for own in [by_node[node.id]]
    ]
    return DialogueExport(
        tree=tree,
        nodes=tuple(nodes),
        synopsis=read_synopsis(session, dialogue_id),
        replays=tuple(again),
        state_reason=_state_reason(tree, events),
        people=tuple(dict.fromkeys(event.rater for event in events if event.rater)),
        began_at=tree.dialogue.created_at,
        ended_at=events[-1].created_at if events else tree.dialogue.created_at,
    )


def _answers_of(replay: Replay, node_id: int) -> tuple[str, ...]:
    return next((line.after for line in replay.lines if line.node_id == node_id), ())


def _state_reason(tree: Tree, events: Sequence[EventRow]) -> str | None:
    """Return why a dialogue is paused or closed; None where it is open."""
    if tree.dialogue.state == "open":
        return None
    return next((one.reason for one in reversed(events) if one.kind in ("pause", "close")), None)


def _judged(events: Sequence[EventRow], cards: Mapping[int, AnswerCard]) -> Iterator[Judged]:
    for event in events:
        verdict = event.payload
        if event.kind != "verdict" or verdict["outcome"] is None:
            continue
        a, b = cards.get(verdict["a"]), cards.get(verdict["b"])
        if a is not None and b is not None:
            first, other = (b, a) if verdict["is_swapped"] else (a, b)
            better = {"a": a, "b": b}.get(verdict["outcome"])
            yield Judged(first=first, other=other, better=better, why=verdict["why"])


def _decisions(
    events: Sequence[EventRow],
    texts: Mapping[int, str],
    context: OutcomeContext,
    dialogues: Mapping[int, str],
) -> list[Decision]:
    return [
        Decision(
            kind=event.kind,
            called=_called(event, context),
            text=_about(event, texts, dialogues),
            reason=event.reason,
            by=event.rater,
            automatic=event.automatic,
            at=event.created_at,
        )
        for event in events
        if event.kind in DECISIONS
    ]


def _called(event: EventRow, context: OutcomeContext) -> str:
    if event.kind != "pick":
        return event.kind
    proposed: str = event.payload["proposed"]
    return how_taken(proposed, context.texts.get(event.question_id or 0, proposed))


def _about(event: EventRow, texts: Mapping[int, str], dialogues: Mapping[int, str]) -> str | None:
    """Return what a decision is about; None where it is the question it stands at."""
    payload = event.payload
    if event.kind in ("fork", "forked"):
        other = payload["from_dialogue" if event.kind == "fork" else "to_dialogue"]
        return f"{other} · {dialogues.get(other, '')}"
    if event.kind == "merge_nodes":
        return " / ".join(texts[one] for one in payload["others"] if one in texts)
    node_id = payload.get("to") or payload.get("node")
    if isinstance(node_id, int) and node_id in texts:
        return texts[node_id] if node_id != event.node_id else None
    text = payload.get("text")
    return text if isinstance(text, str) else None
