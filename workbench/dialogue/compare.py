"""Two dialogues held side by side, in figures."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy.orm import Session

from db.dialogues import read_events
from workbench.dialogue.novelty import same_questions
from workbench.dialogue.tree import Tree, read_tree

LONGEST_PAUSE_S = 600.0
"""A longer time without any event is not counted as work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a dialogue came to."""

    dialogue_id: int
    name: str
    questions: int
    answered: int
    parked: int
    rejected: int
    depth: int
    """Questions on the longest path from the root."""
    breadth: int
    """Most questions at one depth."""
    distinct: int
    """Questions that ask something of their own, as the guard and the person tell them."""
    proposed: int
    """Next questions that were proposed."""
    repeats: int
    """Of these, those that had been asked before."""
    automatic: int
    """Questions that nobody chose."""
    with_reason: int
    """Decisions that say why."""
    minutes: float
    """At work: pauses of more than ten minutes are left out."""
    rating: float | None
    """Mean over questions of what people said of their texts, 1 to 5."""
    moves: Mapping[str, int]


def figures(session: Session, dialogue_id: int) -> Figures:
    """Return what a dialogue came to.

    Raises:
        UsageError: There is no such dialogue.
    """
    tree = read_tree(session, dialogue_id)
    events = read_events(session, dialogue_id)
    states = Counter(node.state for node in tree.nodes)
    proposed = [
        candidate
        for event in events
        if event.kind == "questions_shown"
        for candidate in event.payload["candidates"]
    ]
    times = [event.created_at for event in events]
    gaps = [max(0.0, (b - a).total_seconds()) for a, b in pairwise(times)]
    ratings = [node.rating for node in tree.nodes if node.rating is not None]
    return Figures(
        dialogue_id=dialogue_id,
        name=tree.dialogue.name,
        questions=len(tree.nodes),
        answered=states["answered"],
        parked=states["parked"],
        rejected=states["rejected"],
        depth=max((node.depth for node in tree.nodes), default=-1) + 1,
        breadth=_breadth(tree),
        distinct=len(set(same_questions(_unmerged(tree)))),
        proposed=len(proposed),
        repeats=sum(bool(candidate.get("is_repeat")) for candidate in proposed),
        automatic=sum(node.automatic for node in tree.nodes),
        with_reason=sum(event.reason is not None for event in events),
        minutes=round(sum(gap for gap in gaps if gap <= LONGEST_PAUSE_S) / 60, 1),
        rating=sum(ratings) / len(ratings) if ratings else None,
        moves=tree.moves,
    )


def _unmerged(tree: Tree) -> list[str]:
    return [node.question for node in tree.nodes if node.merged_into is None]


def _breadth(tree: Tree) -> int:
    return max(Counter(node.depth for node in tree.nodes).values(), default=0)
