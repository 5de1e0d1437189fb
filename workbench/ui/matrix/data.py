"""What the browser needs to draw a matrix: columns with totals, a window of rows, one open cell."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.orm import Session

from db.questions import QuestionRow, get_questions
from db.texts.design import NONE, OF_REASONING, Entry
from serving.checks import CHECKS
from workbench.i18n import has
from workbench.matrix.cells import AnswerGroup, Cell, read_cells
from workbench.matrix.columns import Column, Design
from workbench.matrix.rating import own_ratings
from workbench.matrix.totals import Total
from workbench.stats.intervals import Estimate
from workbench.ui.components.i18n import t, word
from workbench.ui.components.text import one_line, word_diff

EXCERPT: Final = 260
DIFF_EXCERPT: Final = 1_500
"""Characters of texts that are compared word by word."""
MOST_GROUPS: Final = 240
"""Groups of answers in one row, over all of its cells; an open cell shows all."""
MOST_OPEN: Final = 400
"""Entries of an open cell, and the characters of each text there."""
MOST_CHARACTERS: Final = 6_000
LEVEL_WORDS: Final = ("mode", "role")
"""Factors whose levels have words of their own in the catalogue."""
WORDS: Final = (
    *("accuracy", "score", "answers", "questions", "counting", "compare", "compare_help", "before"),
    *("after", "reference", "nothing", "of", "empty", "cell", "cell_reasonings", "right", "more"),
    *("became_right", "became_wrong", "scores", "read", "yes", "no", "undo", "edit", "rate"),
    *("difference", "difference_help", "close", "cell_label", "shown_of", "all"),
)
FILLED_THERE: Final = {
    name: f"{{{name}}}" for name in ("n", "all", "k", "found", "before", "after")
}
"""What the browser fills in."""


def texts() -> dict[str, Any]:
    """Return the words of the component in the language of the visit."""
    words: dict[str, Any] = {name: t(f"matrix.{name}", **FILLED_THERE) for name in WORDS}
    words |= {"correct": t("grade.correct"), "incorrect": t("grade.incorrect")}
    words["checks"] = {name: word("check", name) for name in CHECKS}
    return words


def factor_label(name: str) -> str:
    """Return what a factor is called."""
    own = f"matrix.factor.{name}"
    known = t(own) if has(own) else word("insights.factor", name)
    if known != name or not name.startswith(OF_REASONING):
        return known
    of_answer = factor_label(name.removeprefix(OF_REASONING))
    return t("matrix.of_reasoning", factor=of_answer)


def level_label(factor: str, level: str) -> str:
    """Return what a level is called."""
    return word(factor, level) if factor in LEVEL_WORDS and level != NONE else level


def column_data(
    design: Design, columns: Sequence[Column], totals: Sequence[Total] | None
) -> list[dict[str, Any]]:
    """Return the columns with their totals; None while these are counted."""
    return [
        {
            "key": column.key,
            "levels": list(column.levels),
            "shown": [
                one_line(level_label(name, level), 60)
                for name, level in zip(design.by, column.levels, strict=True)
            ],
            "total": None if totals is None else _total(totals[place]),
        }
        for place, column in enumerate(columns)
    ]


def _total(total: Total) -> dict[str, Any]:
    return {"n": total.n, "accuracy": _ends(total.accuracy), "score": _ends(total.score)}


def _ends(found: Estimate | None) -> list[float | None] | None:
    return None if found is None else [found.value, found.low, found.high]


def row_data(
    session: Session,
    design: Design,
    columns: Sequence[Column],
    rows: Sequence[tuple[int, int]],
    sweep_ids: Sequence[int],
    *,
    diff: Sequence[int],
    rater_id: int | None,
) -> list[dict[str, Any]]:
    """Return a window of rows.

    Args:
        session: Of the store.
        design: Tells which column an entry belongs to.
        columns: In their order.
        rows: Place and question of each.
        sweep_ids: Only texts of these sweeps; none: of all.
        diff: Places of two columns that are compared; empty: none.
        rater_id: Whose ratings are marked.
    """
    asked = {row.id: row for row in get_questions(session, [id for _, id in rows])}
    checks = {id: row.answer_check or "" for id, row in asked.items()}
    excerpt = DIFF_EXCERPT if diff else EXCERPT
    ids = list(asked)
    cells = read_cells(session, design, ids, sweep_ids, checks, excerpt=excerpt)
    most = max(1, min(4, MOST_GROUPS // max(1, len(columns))))
    shown = [
        entry.answer_id
        for by_column in cells.values()
        for cell in by_column.values()
        for group in cell.groups[:most]
        for entry in group.entries[:1]
        if entry.answer_id is not None
    ]
    own = own_ratings(session, rater_id, shown) if rater_id is not None else {}
    found = []
    for place, question_id in rows:
        if question_id not in asked:
            continue
        row, by_column = asked[question_id], cells.get(question_id, {})
        drawn = [
            _cell(by_column[column], most, own) if column in by_column else None
            for column in columns
        ]
        one = {"i": place, "q": row.id, "cells": drawn, **_question(row, 300)}
        if len(diff) == 2:
            before, after = (by_column.get(columns[place]) for place in diff)
            one |= _change(before, after)
        found.append(one)
    return found


def _question(row: QuestionRow, most: int) -> dict[str, Any]:
    text = f"{row.text}\n{row.context}" if row.context else row.text
    return {"text": text[:most], "ref": (row.reference_answer or "")[:most]}


def _cell(cell: Cell, most: int, own: Mapping[int, bool]) -> dict[str, Any]:
    return {
        "n": cell.n_answers,
        "k": cell.n_reasonings,
        "ok": cell.n_correct,
        "gr": cell.n_graded,
        "groups": len(cell.groups),
        "g": [_group(group, own) for group in cell.groups[:most]],
    }


def _group(group: AnswerGroup, own: Mapping[int, bool]) -> dict[str, Any]:
    first = group.entries[0]
    return {
        "n": group.n,
        "t": (group.text or "")[:EXCERPT],
        "r": group.result,
        "why": (first.reasoning or "")[:EXCERPT] if group.text is None else "",
        "c": group.correct,
        "f": [list(flag) for flag in group.flags[:3]],
        "s": group.score,
        "a": first.answer_id,
        "v": first.variant_id,
        "own": own.get(first.answer_id or 0),
    }


def _change(before: Cell | None, after: Cell | None) -> dict[str, Any]:
    """Return how the most frequent answers of two cells differ, and what that did to grades."""
    if before is None or after is None:
        return {"diff": [], "change": None}
    old, new = before.groups[0], after.groups[0]
    change = None
    if before.n_graded and after.n_graded:
        shares = [cell.n_correct / cell.n_graded for cell in (before, after)]
        change = "better" if shares[1] > shares[0] else "worse" if shares[1] < shares[0] else None
    scores = [before.score, after.score]
    return {
        "diff": [list(run) for run in word_diff(_said(old), _said(new))],
        "change": change,
        "scores": scores if None not in scores else None,
    }


def _said(group: AnswerGroup) -> str:
    return group.text or group.entries[0].reasoning or ""


def detail_data(
    session: Session,
    design: Design,
    columns: Sequence[Column],
    question_id: int,
    column: int,
    sweep_ids: Sequence[int],
    rater_id: int | None,
) -> dict[str, Any] | None:
    """Return all that one cell holds; None where there is no such cell."""
    asked = get_questions(session, [question_id])
    if not asked or not 0 <= column < len(columns):
        return None
    checks = {question_id: asked[0].answer_check or ""}
    found = read_cells(session, design, [question_id], sweep_ids, checks, excerpt=MOST_CHARACTERS)
    cell = found.get(question_id, {}).get(columns[column])
    if cell is None:
        return None
    every = [(entry, group) for group in cell.groups for entry in group.entries]
    answers = [one.answer_id for one, _ in every if one.answer_id is not None]
    own = own_ratings(session, rater_id, answers) if rater_id is not None else {}
    entries = [_entry(entry, group, own) for entry, group in every[:MOST_OPEN]]
    return {
        "question": question_id,
        "column": column,
        "n": len(every),
        "entries": entries,
        **_question(asked[0], MOST_CHARACTERS),
    }


def _entry(entry: Entry, group: AnswerGroup, own: Mapping[int, bool]) -> dict[str, Any]:
    return {
        "a": entry.answer_id,
        "v": entry.variant_id,
        "answer": entry.answer,
        "reasoning": entry.reasoning,
        "c": entry.correct,
        "found": entry.found,
        "f": [name for name, _ in group.flags] if group.n == 1 else [],
        "s": group.score if group.n == 1 else None,
        "own": own.get(entry.answer_id or 0),
    }
