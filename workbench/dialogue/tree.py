"""A dialogue as a tree to look at: every node with its state, move and figures, in few queries."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.dialogues import DialogueRow, EventRow, NodeRow, get_dialogue, read_events, read_nodes
from db.questions import QuestionRow, get_questions
from db.rating.ratings import RESERVED, active_ratings
from db.tables import Rater, Rating
from workbench.dialogue.events import (
    current_node_id,
    merged_nodes,
)
from workbench.dialogue.novelty import same_questions
from workbench.dialogue.outcomes import Came, how_it_came, set_aside


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    """One question in the tree."""

    id: int
    parent_id: int | None
    position: int
    state: str
    """``open``, ``answered``, ``parked`` or ``rejected``."""
    question_id: int
    question: str
    context: str
    """The facts of the branch."""
    move: str | None
    """What led to it; None for the root, and where a person wrote it without naming a move."""
    source: str
    """``model`` (picked as proposed), ``human`` (edited or written), ``imported``."""
    answer_id: int | None
    """The chosen answer."""
    variant_id: int | None
    """The reasoning of the chosen answer."""
    called: Came
    """How it came to be; the words are ``workbench.dialogue.outcomes.called_words``."""
    reason: str | None
    """Why this question was taken."""
    aside_reason: str | None
    """Why it was parked or rejected, where it is now."""
    choice_reason: str | None
    """Why its answer was chosen."""
    held_out: bool
    """Its question is for evaluation: nothing of it trains."""
    automatic: bool
    """Nobody chose it."""
    answer_automatic: bool
    """Nobody chose its answer."""
    n_answers: int
    """Laid out and folded."""
    n_candidates: int
    """Next questions proposed."""
    tags: tuple[str, ...]
    notes: tuple[str, ...]
    depth: int = 0
    """0 for the root."""
    rating: float | None = None
    """Mean of what people said of its texts on axes, 1 to 5."""
    merged_into: int | None = None
    """The node that asks the same and stands for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A whole dialogue."""

    dialogue: DialogueRow
    nodes: tuple[TreeNode, ...]
    """In the order in which they were made: parents before children."""
    current_id: int | None
    """Where the person is."""
    n_events: int
    moves: Mapping[str, int]
    """Move → questions that it led to; ``none`` for written ones without a move."""

    def node(self, node_id: int) -> TreeNode:
        """Return one node; it must be there."""
        return next(node for node in self.nodes if node.id == node_id)

    def path(self, node_id: int) -> tuple[TreeNode, ...]:
        """Return the nodes from the root to ``node_id``."""
        by_id = {node.id: node for node in self.nodes}
        path = [by_id[node_id]]
        while path[0].parent_id is not None:
            path.insert(0, by_id[path[0].parent_id])
        return tuple(path)

    def by_branch(self) -> list[TreeNode]:
        """Return all nodes, each followed by what came of it."""
        children: defaultdict[int | None, list[TreeNode]] = defaultdict(list)
        for node in reversed(self.nodes):
            children[node.parent_id].append(node)
        ordered: list[TreeNode] = []
        waiting = children[None]
        while waiting:
            node = waiting.pop()
            ordered.append(node)
            waiting += children[node.id]
        return ordered


def read_tree(session: Session, dialogue_id: int) -> Tree:
    """Return a dialogue as a tree, in a fixed number of queries.

    Raises:
        UsageError: There is no such dialogue.
    """
    dialogue = get_dialogue(session, dialogue_id)
    rows = read_nodes(session, dialogue_id)
    events = read_events(session, dialogue_id)
    by_node: defaultdict[int | None, list[EventRow]] = defaultdict(list)
    for event in events:
        by_node[event.node_id].append(event)
    origins, aside, merged = _origins(events), set_aside(events), merged_nodes(events)
    questions = {one.id: one for one in get_questions(session, [row.question_id for row in rows])}
    ratings = _ratings(session, list(questions))
    nodes: dict[int, TreeNode] = {}
    for row in rows:
        node = _tree_node(
            row, questions[row.question_id], by_node[row.id], origins.get(row.id), aside.get(row.id)
        )
        nodes[row.id] = replace(
            node,
            depth=nodes[row.parent_id].depth + 1 if row.parent_id is not None else 0,
            rating=ratings.get(row.question_id),
            merged_into=merged.get(row.id),
        )
    moves = Counter(node.move or "none" for node in nodes.values() if node.parent_id is not None)
    return Tree(
        dialogue=dialogue,
        nodes=tuple(nodes.values()),
        current_id=current_node_id(events),
        n_events=len(events),
        moves=dict(moves),
    )


def _tree_node(
    row: NodeRow,
    question: QuestionRow,
    events: Sequence[EventRow],
    origin: EventRow | None,
    aside: EventRow | None,
) -> TreeNode:
    chosen = next((event for event in reversed(events) if event.kind == "choose"), None)
    laid_out = [event for event in events if event.kind == "answers_shown"]
    return TreeNode(
        id=row.id,
        parent_id=row.parent_id,
        position=row.position,
        state=row.state,
        question_id=row.question_id,
        question=question.text,
        context=question.context,
        move=origin.payload.get("move") if origin else None,
        source=_source(question, origin),
        called=how_it_came(origin, question.text, question.source),
        answer_id=chosen.answer_id if chosen else None,
        variant_id=chosen.variant_id if chosen else None,
        reason=origin.reason if origin else None,
        aside_reason=_aside_reason(row, aside),
        choice_reason=chosen.reason if chosen else None,
        held_out=bool(question.held_out),
        automatic=bool(origin and origin.automatic),
        answer_automatic=bool(chosen and chosen.automatic),
        n_answers=len(
            {one for e in laid_out for one in (*e.payload["shown"], *e.payload["folded"])}
        ),
        n_candidates=sum(
            len(e.payload["candidates"]) for e in events if e.kind == "questions_shown"
        ),
        tags=question.tags,
        notes=tuple(e.payload["text"] for e in events if e.kind == "note"),
    )


def _aside_reason(row: NodeRow, aside: EventRow | None) -> str | None:
    """Return why a question was parked or rejected in the tree; None where it is not, or no more.

    One that was parked as a proposal has that reason as the reason why it is there.
    """
    return aside.reason if aside and row.state in ("parked", "rejected") else None


def _source(question: QuestionRow, origin: EventRow | None) -> str:
    if origin is None or origin.kind == "import" or origin.payload.get("imported"):
        return question.source
    is_proposed = origin.kind in ("pick", "park") and not origin.payload.get("is_edited")
    return "model" if is_proposed else "human"


def _origins(events: Sequence[EventRow]) -> dict[int, EventRow]:
    """Return the event that made each node, by node."""
    found: dict[int, EventRow] = {}
    for event in events:
        made = event.payload.get("to") or event.payload.get("node")
        if event.kind in ("pick", "write", "import", "park") and made not in (None, event.node_id):
            found.setdefault(int(made), event)
    return found


def _ratings(session: Session, ids: Sequence[int]) -> dict[int, float]:
    """Return the mean value that people gave to the texts of each question."""
    found: dict[int, float] = {}
    people = select(Rater.id).where(Rater.kind == "person")
    for part in chunks(ids):
        query = (
            active_ratings()
            .with_only_columns(Rating.question_id, func.avg(Rating.value))
            .where(
                Rating.question_id.in_(part),
                Rating.value.is_not(None),
                Rating.axis.not_in(RESERVED),
                Rating.rater_id.in_(people),
            )
            .group_by(Rating.question_id)
        )
        found.update((row[0], float(row[1])) for row in session.execute(query))
    return found


def duplicates(tree: Tree) -> list[tuple[int, ...]]:
    """Return groups of nodes whose wording asks the same, the oldest first in each.

    Nodes that stand behind another one are left out.
    """
    nodes = [node for node in tree.nodes if node.merged_into is None]
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for node, first in zip(nodes, same_questions([n.question for n in nodes]), strict=True):
        groups[first].append(node.id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]
