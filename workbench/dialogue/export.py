"""A whole session, told to someone who was not there: what reports and exports are made of."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from db.dialogues import EventRow, list_dialogues, read_events
from db.texts.rows import TextRow, read_texts
from workbench.dialogue.cards import Candidate, Fact, candidates_of
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
class Told:
    """An answer and the reasoning that it was written under."""

    answer: TextRow
    reasoning: TextRow | None
    side: str | None = None
    """``goal`` or ``opposing``: what it argues for, where it was asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the audience, played by a model, said of two answers that it read in this order."""

    first: Told
    other: Told
    better: Told | None
    """None: neither."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedQuestion:
    """One question with all that happened at it."""

    number: int
    """In the order in which the questions came up, from 1."""
    node: TreeNode
    chosen: Told | None
    others: tuple[Told, ...]
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
    """A whole session."""

    tree: Tree
    nodes: tuple[ExportedQuestion, ...]
    """Branch by branch: a node is followed by what came of it."""
    synopsis: Synopsis | None
    replays: tuple[Replay, ...]
    state_reason: str | None
    """Why the session is paused or closed."""
    people: tuple[str, ...]
    began_at: datetime
    ended_at: datetime

    def number(self, node_id: int) -> int:
        """Return the number of a node."""
        return self.tree.node(node_id).position + 1


def read_export(session: Session, dialogue_id: int) -> DialogueExport:
    """Return a session with all its texts, in a fixed number of queries.

    Raises:
        UsageError: There is no such session.
    """
    tree = read_tree(session, dialogue_id)
    events = read_events(session, dialogue_id)
    by_node: defaultdict[int, list[EventRow]] = defaultdict(list)
    for event in events:
        if event.node_id is not None:
            by_node[event.node_id].append(event)
    laid_out = {node.id: _laid_out(by_node[node.id]) for node in tree.nodes}
    answers = read_texts(session, "answer", [one for ids in laid_out.values() for one in ids])
    reasonings = read_texts(
        session, "variant", [row.variant_id for row in answers.values() if row.variant_id]
    )

    sides = {e.variant_id: e.payload["side"] for e in events if e.payload.get("side")}
    told = {
        one: Told(
            answer=row,
            reasoning=reasonings.get(row.variant_id or 0),
            side=sides.get(row.variant_id),
        )
        for one, row in answers.items()
    }
    texts = {node.id: node.question for node in tree.nodes}
    context = read_outcome_context(session, dialogue_id)
    again = [
        read_replay(session, dialogue_id, event.payload["replay_sweep_id"])
        for event in replays(session, dialogue_id)
    ]
    forks = {one.id: one.name for one in list_dialogues(session)}
    nodes = []
    for node in _branch_by_branch(tree):
        ids = [one for one in laid_out[node.id] if one in told]
        own = by_node[node.id]
        one = _exported(node, own, [told[one] for one in ids], context)
        decisions = tuple(_decisions(own, texts, context, forks))
        replayed = tuple((it, lines) for it in again if (lines := _answers_of(it, node.id)))
        nodes.append(replace(one, decisions=decisions, replayed=replayed))
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


def _exported(
    node: TreeNode,
    events: Sequence[EventRow],
    told: Sequence[Told],
    context: OutcomeContext,
) -> ExportedQuestion:
    asked = [event for event in events if event.kind == "questions_shown"]
    return ExportedQuestion(
        number=node.position + 1,
        node=node,
        chosen=next((one for one in told if one.answer.id == node.answer_id), None),
        others=tuple(one for one in told if one.answer.id != node.answer_id),
        candidates=tuple(one for event in asked for one in candidates_of(event, events, context)),
        facts=tuple(
            Fact(text=e.payload["text"], source=e.payload["source"], node_id=node.id)
            for e in events
            if e.kind == "fact"
        ),
        judged=tuple(_judged(events, {one.answer.id: one for one in told})),
        decisions=(),
        replayed=(),
    )


def _answers_of(replay: Replay, node_id: int) -> tuple[str, ...]:
    return next((line.after for line in replay.lines if line.node_id == node_id), ())


def _state_reason(tree: Tree, events: Sequence[EventRow]) -> str | None:
    """Return why a session is paused or closed; None where it is open."""
    if tree.dialogue.state == "open":
        return None
    return next((one.reason for one in reversed(events) if one.kind in ("pause", "close")), None)


def _judged(events: Sequence[EventRow], told: Mapping[int, Told]) -> Iterator[Judged]:
    for event in events:
        said = event.payload
        if event.kind != "verdict" or said["outcome"] is None:
            continue
        a, b = told.get(said["a"]), told.get(said["b"])
        if a is not None and b is not None:
            first, other = (b, a) if said["is_swapped"] else (a, b)
            better = {"a": a, "b": b}.get(said["outcome"])
            yield Judged(first=first, other=other, better=better, why=said["why"])


def _laid_out(events: Sequence[EventRow]) -> list[int]:
    shown = [event for event in events if event.kind == "answers_shown"]
    return list(
        dict.fromkeys(
            one for event in shown for key in ("shown", "folded") for one in event.payload[key]
        )
    )


def _branch_by_branch(tree: Tree) -> list[TreeNode]:
    children: defaultdict[int | None, list[TreeNode]] = defaultdict(list)
    for node in tree.nodes:
        children[node.parent_id].append(node)
    ordered: list[TreeNode] = []
    waiting = list(reversed(children[None]))
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting += reversed(children[node.id])
    return ordered


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
