"""What each row of a spreadsheet becomes when it is imported, told before anything is stored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.dialogue.sheets import SheetRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """Where the question of one row hangs in its tree."""

    row: SheetRow
    becomes: Literal["root", "taken", "next"]
    """The first question, one that was taken earlier, or one that follows the step before."""
    under: int | None
    """Line of the row that it hangs under; None for the root."""
    n_waiting: int
    """Questions that were taken here and that no later row asks: they become open ones."""


def plan_tree(rows: Sequence[SheetRow]) -> list[PlannedStep]:
    """Return the steps of one goal in the order in which they are hung into its tree."""
    ordered = sorted(rows, key=lambda row: row.step)
    taken_at: dict[str, int] = {}
    waiting: Counter[int] = Counter()
    found: list[tuple[SheetRow, Literal["root", "taken", "next"], int | None]] = []
    last: int | None = None
    for row in ordered:
        under = taken_at.pop(row.question, None)
        if under is not None:
            waiting[under] -= 1
        found.append((row, "taken", under) if under is not None else _hung(row, last))
        taken_at |= dict.fromkeys(row.hung, row.line)
        waiting[row.line] += len(row.hung)
        last = row.line
    return [
        PlannedStep(row=row, becomes=becomes, under=under, n_waiting=waiting[row.line])
        for row, becomes, under in found
    ]


def n_nodes(plan: Sequence[PlannedStep]) -> int:
    """Return how many questions the tree of a plan has."""
    return len(plan) + sum(step.n_waiting for step in plan)


def _hung(
    row: SheetRow, last: int | None
) -> tuple[SheetRow, Literal["root", "taken", "next"], int | None]:
    return (row, "root", None) if last is None else (row, "next", last)
