"""Questions that two sessions have both asked, as the guard against repeats tells them."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.dialogue.embedding import Guard
from workbench.dialogue.tree import Tree, TreeNode


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedQuestion:
    """A question of one session and the one of the other that asks the same."""

    one: TreeNode
    other: TreeNode
    similarity: float
    """0 to 1."""


def asked_in_both(guard: Guard, one: Tree, other: Tree) -> list[SharedQuestion]:
    """Return the questions of ``one`` that ``other`` asks too, the most alike first."""
    if not one.nodes or not other.nodes:
        return []
    theirs: Sequence[TreeNode] = other.nodes
    assessed = guard.assess(
        [node.question for node in one.nodes], [node.question for node in theirs], ""
    )
    found = [
        SharedQuestion(one=node, other=theirs[novelty.nearest], similarity=novelty.similarity)
        for node, novelty in zip(one.nodes, assessed, strict=True)
        if novelty.nearest is not None and novelty.similarity >= guard.repeat_from
    ]
    return sorted(found, key=lambda shared: -shared.similarity)
