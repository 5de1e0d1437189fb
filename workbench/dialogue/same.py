"""Questions of a tree that ask the same: one stands for the others, until they are told apart.

Nothing is moved or deleted: a merge is an event, and so is taking a merged question up again. What
lies under a merged question stays where it is.
"""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy.orm import Session

from db.dialogues import get_node, read_events
from db.errors import UsageError
from workbench.dialogue.deciding import decide, merged_nodes, node_of
from workbench.dialogue.decisions import current_node_id
from workbench.dialogue.novelty import same_questions
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By


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

    Args:
        session: Of an open write transaction.
        dialogue_id: The session.
        keep_id: The node that stands for the others.
        others: The nodes that ask the same.
        by: Who says so.
        reason: Why, in one line.

    Returns:
        The event's id.

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
                f"Another question stands for question {number} already; take it up again first."
            )
        if number == 1 and one != keep_id:
            raise UsageError("The first question is the root of the tree: let it stand for others.")
    payload: dict[str, object] = {"keep": keep_id, "others": rest}
    if current_node_id(events) in rest:
        payload["to"] = keep_id
    return decide(session, keep, "merge_nodes", by, payload, reason=reason)


def alike(tree: Tree) -> list[tuple[int, ...]]:
    """Return groups of nodes whose wording asks the same, the oldest first in each.

    Nodes that stand behind another one are left out.
    """
    nodes = [node for node in tree.nodes if node.merged_into is None]
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for node, first in zip(nodes, same_questions([n.question for n in nodes]), strict=True):
        groups[first].append(node.id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]
