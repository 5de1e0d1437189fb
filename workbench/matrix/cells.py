"""The cells of some rows: every reasoning and answer of a level, equal answers collapsed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.rating.summaries import RatingSummary, rating_summaries
from db.texts.design import Entry, entries_of
from db.texts.rows import read_flags
from workbench.matrix.columns import Column, Design

BY_RESULT = frozenset(("number", "option", "maths", "json"))
"""Checks that read a result: answers with an equal one are equal, however they are worded."""
_Key = tuple[str, str | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGroup:
    """Equal answers of a cell, or reasonings without answers."""

    entries: tuple[Entry, ...]
    text: str | None
    """The first of the answers; None: reasonings without answers."""
    result: str | None
    """What the check read, where the answers are equal by that."""
    correct: bool | None
    flags: tuple[tuple[str, int], ...]
    """Findings on answers and their reasonings, each with the number of texts."""
    score: float | None
    """0 to 1: what people said of its answers, or of their reasonings; None: nothing."""

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All that one level wrote for one question."""

    groups: tuple[AnswerGroup, ...]
    """The most frequent answer first."""
    n_answers: int
    n_reasonings: int
    n_graded: int
    n_correct: int
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What is known of texts beside the texts themselves."""

    checks: dict[int, str]
    """Question → its answer check."""
    answer_flags: dict[int | None, list[str]]
    variant_flags: dict[int | None, list[str]]
    answer_ratings: dict[int, RatingSummary]
    variant_ratings: dict[int, RatingSummary]

    def score(self, entry: Entry) -> float | None:
        """Return what people said of an answer, or of its reasoning where they said nothing."""
        rated = self.answer_ratings.get(entry.answer_id or 0)
        rated = rated or self.variant_ratings.get(entry.variant_id or 0)
        return rated.score if rated else None


def read_cells(
    session: Session,
    design: Design,
    question_ids: Sequence[int],
    sweep_ids: Sequence[int],
    checks: dict[int, str],
    *,
    excerpt: int,
) -> dict[int, dict[Column, Cell]]:
    """Return question → column → cell; a question without texts has no cells."""
    entries = entries_of(session, question_ids, sweep_ids, excerpt=excerpt)
    notes = _notes(session, entries, checks)
    sorted_in: defaultdict[int, defaultdict[Column, list[Entry]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for entry in entries:
        column = design.column_of(entry.level)
        if column is not None:
            sorted_in[entry.question_id][column].append(entry)
    return {
        question_id: {column: cell_of(own, notes) for column, own in by_column.items()}
        for question_id, by_column in sorted_in.items()
    }


def _notes(session: Session, entries: Sequence[Entry], checks: dict[int, str]) -> Notes:
    answers = sorted({one.answer_id for one in entries if one.answer_id is not None})
    variants = sorted({one.variant_id for one in entries if one.variant_id is not None})
    return Notes(
        checks=checks,
        answer_flags=dict(read_flags(session, "answer", answers)),
        variant_flags=dict(read_flags(session, "variant", variants)),
        answer_ratings=rating_summaries(session, "answer", answers),
        variant_ratings=rating_summaries(session, "variant", variants),
    )


def cell_of(entries: Sequence[Entry], notes: Notes) -> Cell:
    """Return the cell that holds ``entries``, equal answers together."""
    grouped: defaultdict[_Key, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[_key(entry, notes)].append(entry)
    ordered = sorted(grouped.items(), key=lambda one: -len(one[1]))
    graded = [one.correct for one in entries if one.correct is not None]
    return Cell(
        groups=tuple(_group(key, own, notes) for key, own in ordered),
        n_answers=sum(one.answer_id is not None for one in entries),
        n_reasonings=len({one.variant_id for one in entries if one.variant_id is not None}),
        n_graded=len(graded),
        n_correct=sum(graded),
        score=_mean(notes.score(one) for one in entries),
    )


def _key(entry: Entry, notes: Notes) -> _Key:
    if entry.answer_id is None:
        return "reasonings", None
    check = notes.checks.get(entry.question_id, "").partition(":")[0]
    if entry.correct is not None and check in BY_RESULT:
        return "result", f"{entry.correct} {entry.found}"
    return "text", entry.answer_hash


def _group(key: _Key, entries: Sequence[Entry], notes: Notes) -> AnswerGroup:
    first = entries[0]
    flags: Counter[str] = Counter()
    for entry in entries:
        flags.update(notes.answer_flags.get(entry.answer_id, ()))
        flags.update(notes.variant_flags.get(entry.variant_id, ()))
    return AnswerGroup(
        entries=tuple(entries),
        text=first.answer,
        result=first.found if key[0] == "result" else None,
        correct=first.correct,
        flags=tuple(flags.most_common()),
        score=_mean(notes.score(one) for one in entries),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None
