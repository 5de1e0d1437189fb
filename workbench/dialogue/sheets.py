"""Spreadsheets of earlier dialogues: one row a step, one dialogue for each goal.

Columns, in any order, however their names are spaced or capitalised: ``Goal``, ``Step``,
``QInitial`` (the question), ``AInitial`` (its answer), ``FBA`` (what was said of the answer),
``FBQ1`` to ``FBQ5`` (questions that were proposed), ``SEL1`` to ``SEL5`` (a mark beside those that
were taken). ``Reasoning``, ``Concept`` and ``Audience`` are read where they are there. What each
row becomes is told before anything is stored.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from db.input_text import plain, problem_of
from db.messages import Message
from serving.importers.readers import read_records
from serving.importers.source import ImportFile, ImportRefused, Record

MAX_PROPOSED = 5
NO_MARKS = frozenset({"", "0", "no", "n", "false", "-", "×", "x̄", "いいえ", "否"})
"""What beside a proposed question means that it was not taken; anything else means it was."""
_NAMES = {
    "goal": "goal",
    "step": "step",
    "qinitial": "question",
    "question": "question",
    "ainitial": "answer",
    "answer": "answer",
    "fba": "note",
    "reasoning": "reasoning",
    "concept": "concept",
    "audience": "audience",
    **{f"fbq{i}": f"proposed{i}" for i in range(1, MAX_PROPOSED + 1)},
    **{f"sel{i}": f"taken{i}" for i in range(1, MAX_PROPOSED + 1)},
}
NOTHING_DONE = "Nothing was imported: correct the file."


@dataclass(slots=True, kw_only=True)
class SheetRow:
    """One step as the spreadsheet tells it."""

    line: int
    goal: str
    step: float
    question: str
    answer: str = ""
    reasoning: str = ""
    note: str = ""
    concept: str = ""
    audience: str = ""
    proposed: list[str] = field(default_factory=list)
    taken: list[bool] = field(default_factory=list)

    @property
    def children(self) -> dict[str, int]:
        """Proposed questions that become nodes of the tree, each once, with its first place.

        The question of the row itself is no child of itself.
        """
        marked = [i for i, is_taken in enumerate(self.taken) if is_taken]
        return {self.proposed[i]: i for i in reversed(marked) if self.proposed[i] != self.question}


def read_sheet(
    path: Path | bytes, *, name: str | None = None, encoding: str | None = None
) -> dict[str, list[SheetRow]]:
    """Return the steps of each goal, in the order of the file.

    ``encoding`` is what a text that is not UTF-8 is read as.

    Raises:
        UsageError: The file cannot be read.
        ImportRefused: Rows are wrong; each one is named.
    """
    source = read_records(path, name=name, encoding=encoding)
    records, columns = list(source.records), source.columns
    known = {column: what for column in columns if (what := _NAMES.get(_key(column)))}
    if "question" not in known.values():
        source.refuse(None, "QInitial", "is missing; it holds the question of each step.")
        raise ImportRefused(source.problems, NOTHING_DONE)
    rows = [row for record in records if (row := _row(source, record, known)) is not None]
    if not rows and not source.problems:
        source.refuse(None, None, "holds no step; give at least one row with a question.")
    if source.problems:
        raise ImportRefused(source.problems, NOTHING_DONE)
    goals: dict[str, list[SheetRow]] = {}
    for row in rows:
        goals.setdefault(row.goal, []).append(row)
    return goals


def _key(column: str) -> str:
    return re.sub(r"[\s_\-]+", "", column).casefold()


def _row(source: ImportFile, record: Record, known: Mapping[str, str]) -> SheetRow | None:
    values = {what: _text(record.values.get(column)) for column, what in known.items()}
    for column, what in known.items():
        problem = problem_of(values[what])
        if problem:
            source.refuse(record.line, column, problem)
            return None
    if not any(values.values()):
        return None
    if not values["question"]:
        source.refuse(record.line, "QInitial", "is empty; give the question of this step.")
        return None
    step = values.get("step") or str(record.line)
    number = re.search(r"\d+(?:\.\d+)?", step)
    if number is None:
        source.refuse(record.line, "Step", Message("is {value!r}; give a number.", value=step))
        return None
    numbers = range(1, MAX_PROPOSED + 1)
    filled = [i for i in numbers if values.get(f"proposed{i}")]
    return SheetRow(
        line=record.line,
        goal=values.get("goal") or Path(source.name).stem,
        step=float(number.group()),
        **{
            what: values.get(what, "")
            for what in ("question", "answer", "reasoning", "note", "concept", "audience")
        },
        proposed=[values[f"proposed{i}"] for i in filled],
        taken=[_is_marked(values.get(f"taken{i}", ""), values[f"proposed{i}"]) for i in filled],
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return plain(str(value))[0]


def _is_marked(mark: str, question: str) -> bool:
    return mark.casefold() not in NO_MARKS or (bool(mark) and mark == question)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """Where the question of one row stands in its tree."""

    row: SheetRow
    becomes: Literal["root", "taken", "next"]
    """The first question, one that was taken earlier, or one that follows the step before."""
    under: int | None
    """Line of the row that it stands under; None for the root."""
    n_waiting: int
    """Questions that were taken here and that no later row asks: they become open ones."""


def plan_tree(rows: Sequence[SheetRow]) -> list[PlannedStep]:
    """Return the steps of one goal in the order in which they are added to its tree."""
    taken_at: dict[str, int] = {}
    waiting: Counter[int] = Counter()
    places: list[tuple[SheetRow, Literal["root", "taken", "next"], int | None]] = []
    for row in sorted(rows, key=lambda row: row.step):
        taken = taken_at.pop(row.question, None)
        if taken is not None:
            waiting[taken] -= 1
            places.append((row, "taken", taken))
        elif places:
            places.append((row, "next", places[-1][0].line))
        else:
            places.append((row, "root", None))
        taken_at |= dict.fromkeys(row.children, row.line)
        waiting[row.line] += len(row.children)
    return [
        PlannedStep(row=row, becomes=becomes, under=under, n_waiting=waiting[row.line])
        for row, becomes, under in places
    ]


def n_nodes(plan: Sequence[PlannedStep]) -> int:
    """Return how many questions the tree of a plan has."""
    return len(plan) + sum(step.n_waiting for step in plan)
