"""What the browser needs to draw a matrix: columns with totals, a window of rows, one open cell."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy.orm import Session

from db.texts.design import Entry, MatrixQuestion, matrix_questions
from serving.checks import CHECKS
from workbench.matrix.cells import AnswerGroup, Cell, read_cells
from workbench.matrix.columns import Column, Design
from workbench.matrix.labels import factor_name, level_name
from workbench.matrix.rating import own_ratings
from workbench.matrix.totals import Total
from workbench.stats.intervals import Estimate
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.text import one_line, word_diff

EXCERPT: Final = 260
DIFF_EXCERPT: Final = 1_500
"""Characters of texts that are compared word by word."""
MOST_GROUPS: Final = 240
"""Groups of answers in one row, over all of its cells; an open cell shows all."""
OPENED: Final = 200
"""Entries of an open cell that are shown at first, and each time more are asked for."""
MOST_CHARACTERS: Final = 6_000
"""Of each text there."""
MOST_OF_QUESTION: Final = 300
REASONING_EXCERPT: Final = 140
LINE: Final = 90
"""Characters of what takes one line of a cell."""
WORDS: Final = (
    *("accuracy", "score", "counting", "compare", "compare_help", "before"),
    *("after", "reference", "nothing", "empty", "right"),
    *("became_right", "became_wrong", "scores", "read", "yes", "no", "undo", "edit", "rate"),
    *("difference", "difference_help", "close", "cell_label", "all"),
    *("group_by", "graded", "one_sided", "value"),
)
COUNTED: Final = ("answers", "reasonings", "questions", "of", "more", "shown_of", "further")
"""Those with another form for one."""
FILLED_THERE: Final = {
    name: f"{{{name}}}"
    for name in ("n", "all", "k", "found", "before", "after", "factor", "graded")
}
"""What the browser fills in."""


def texts() -> dict[str, Any]:
    """Return the words of the component in the language of the visit."""
    return _texts(current_language())


@cache
def _texts(language: str) -> dict[str, Any]:
    words: dict[str, Any] = {name: t(f"matrix.{name}", **FILLED_THERE) for name in WORDS}
    for name in COUNTED:
        forms = ("one", "other")
        words[name] = {form: t(f"matrix.{name}.{form}", **FILLED_THERE) for form in forms}
    words |= {"correct": t("grade.correct"), "incorrect": t("grade.incorrect")}
    words["checks"] = {name: word("check", name) for name in CHECKS}
    return words


def factor_label(name: str) -> str:
    """Return what a factor is called in the language of the visit."""
    return factor_name(name, current_language())


def level_label(factor: str, level: str) -> str:
    """Return what a level is called in the language of the visit."""
    return level_name(factor, level, current_language())


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
    rows: Sequence[tuple[int, int]],
    sweep_ids: Sequence[int],
    *,
    diff: Sequence[int],
    rater_id: int | None,
) -> list[dict[str, Any]]:
    """Return a window of rows; what is empty or false is left out of it.

    Args:
        session: Of the store.
        design: Tells which column an entry belongs to.
        rows: Place and question of each.
        sweep_ids: Only texts of these sweeps; none: of all.
        diff: Places of two columns that are compared, the only ones then; empty: none.
        rater_id: Whose ratings are marked.
    """
    asked = matrix_questions(session, [id for _, id in rows], excerpt=MOST_OF_QUESTION)
    questions = {one.id: one for one in asked}
    excerpt = DIFF_EXCERPT if diff else EXCERPT
    cells = read_cells(session, design, asked, sweep_ids, excerpt=excerpt)
    columns = [
        column if len(diff) != 2 or place in diff else None
        for place, column in enumerate(design.columns)
    ]
    most = max(1, min(4, MOST_GROUPS // max(1, len(columns))))
    firsts = [
        group.entries[0]
        for by_column in cells.values()
        for cell in by_column.values()
        for group in cell.groups[:most]
    ]
    own = _own(session, rater_id, firsts)
    found = []
    for place, question_id in rows:
        if question_id not in questions:
            continue
        by_column = cells.get(question_id, {})
        drawn = [
            _cell(by_column[column], most, own) if column in by_column else None
            for column in columns
        ]
        one = {"i": place, "q": question_id, "cells": drawn, **_question(questions[question_id])}
        if len(diff) == 2:
            before, after = (by_column.get(design.columns[place]) for place in diff)
            one |= _change(before, after)
        found.append(one)
    return found


def _own(session: Session, rater_id: int | None, entries: Sequence[Entry]) -> Mapping[str, bool]:
    if rater_id is None:
        return {}
    answers = [one.answer_id for one in entries if one.answer_id is not None]
    alone = [one.variant_id for one in entries if one.answer_id is None and one.variant_id]
    return own_ratings(session, rater_id, answers, alone)


def _ref(entry: Entry) -> str:
    return f"v{entry.variant_id}" if entry.answer_id is None else f"a{entry.answer_id}"


def _question(row: MatrixQuestion) -> dict[str, Any]:
    text = f"{row.text}\n{row.context}" if row.context else row.text
    return {"text": text, "ref": row.reference_answer}


def _cell(cell: Cell, most: int, own: Mapping[str, bool]) -> dict[str, Any]:
    return {
        "n": cell.n_answers,
        "k": cell.n_reasonings,
        "ok": cell.n_correct,
        "gr": cell.n_graded,
        "groups": len(cell.groups),
        "g": [_group(group, place, own) for place, group in enumerate(cell.groups[:most])],
    }


def _group(group: AnswerGroup, place: int, own: Mapping[str, bool]) -> dict[str, Any]:
    """Return a group as its cell shows it: the first in full, of the others one line."""
    first = group.entries[0]
    is_line = place > 0
    is_read = is_line and group.result is not None  # the result says it
    length = LINE if is_line else EXCERPT
    found = {
        "n": group.n,
        "t": "" if is_read else (group.text or "")[:length],
        "r": group.result,
        "why": (first.reasoning or "")[: LINE if is_line else REASONING_EXCERPT],
        "c": group.correct,
        "f": [list(flag) for flag in group.flags[: 1 if is_line else 2]],
        "s": group.score,
        "a": first.answer_id,
        "v": first.variant_id,
        "own": own.get(_ref(first)),
    }
    if is_line and group.text is not None:
        found["why"] = ""
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def _change(before: Cell | None, after: Cell | None) -> dict[str, Any]:
    """Return how the most frequent answers of two cells differ, and what that did to grades."""
    if before is None or after is None:
        return {"diff": [], "change": None}
    old, new = before.groups[0], after.groups[0]
    change, graded = None, None
    if before.n_graded and after.n_graded:
        shares = [cell.n_correct / cell.n_graded for cell in (before, after)]
        change = "better" if shares[1] > shares[0] else "worse" if shares[1] < shares[0] else "same"
        graded = [[cell.n_correct, cell.n_graded] for cell in (before, after)]
    scores = [before.score, after.score]
    return {
        "diff": [list(run) for run in word_diff(_said(old), _said(new))],
        "change": change,
        "graded": graded,
        "scores": scores if None not in scores else None,
    }


def _said(group: AnswerGroup) -> str:
    return group.text or group.entries[0].reasoning or ""


def detail_data(
    session: Session,
    design: Design,
    question_id: int,
    column: int,
    sweep_ids: Sequence[int],
    rater_id: int | None,
    *,
    most: int = OPENED,
) -> dict[str, Any] | None:
    """Return what one cell holds, ``most`` of its texts; None where there is no such cell."""
    asked = matrix_questions(session, [question_id], excerpt=MOST_CHARACTERS)
    if not asked or not 0 <= column < len(design.columns):
        return None
    found = read_cells(session, design, asked, sweep_ids, excerpt=MOST_CHARACTERS + 1)
    cell = found.get(question_id, {}).get(design.columns[column])
    if cell is None:
        return None
    every = [(entry, group) for group in cell.groups for entry in group.entries]
    shown = every[:most]
    own = _own(session, rater_id, [entry for entry, _ in shown])
    return {
        "question": question_id,
        "column": column,
        "n": len(every),
        "entries": [_entry(entry, group, own) for entry, group in shown],
        **_question(asked[0]),
    }


def _entry(entry: Entry, group: AnswerGroup, own: Mapping[str, bool]) -> dict[str, Any]:
    return {
        "a": entry.answer_id,
        "v": entry.variant_id,
        "answer": _cut(entry.answer),
        "reasoning": _cut(entry.reasoning),
        "c": entry.correct,
        "found": entry.found,
        "f": list(group.notes.flags(entry)),
        "s": group.notes.score(entry),
        "own": own.get(_ref(entry)),
    }


def _cut(text: str | None) -> str | None:
    """Return a text that says where it was cut; its own page has all of it."""
    is_long = text is not None and len(text) > MOST_CHARACTERS
    return f"{text[:MOST_CHARACTERS]} …" if text is not None and is_long else text
