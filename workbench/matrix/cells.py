"""The cells of some rows: every reasoning and answer of a level, equal answers collapsed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.rating.remarks import NO_REMARKS, Remarks, read_remarks
from db.rating.summaries import scores_of
from db.tables import Answer, ReasoningVariant
from db.texts.design import Entry, MatrixQuestion, entries_of
from db.texts.rows import read_flags
from workbench.matrix.columns import Column, Design

BY_RESULT = frozenset(("number", "option", "maths", "json"))
"""Checks that read a result: answers with an equal one are equal, however they are worded."""
_Key = tuple[str, str | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What is known of texts beside the texts themselves."""

    answer_flags: Mapping[int | None, Sequence[str]]
    variant_flags: Mapping[int | None, Sequence[str]]
    answer_scores: Mapping[int | None, float]
    """0 to 1: what people said of each rated answer."""
    variant_scores: Mapping[int | None, float]
    answer_remarks: Mapping[int, Remarks]
    variant_remarks: Mapping[int, Remarks]

    def flags(self, entry: Entry) -> tuple[str, ...]:
        """Return the findings on an answer and its reasoning."""
        found = self.answer_flags.get(entry.answer_id, ())
        return (*found, *self.variant_flags.get(entry.variant_id, ()))

    def score(self, entry: Entry) -> float | None:
        """Return what people said of an answer, or of its reasoning where they said nothing."""
        own = self.answer_scores.get(entry.answer_id)
        return self.variant_scores.get(entry.variant_id) if own is None else own

    def said(self, entry: Entry) -> Remarks:
        """Return the tags and notes that people left on an answer and on its reasoning."""
        found = [self.answer_remarks.get(entry.answer_id or 0, NO_REMARKS)]
        found.append(self.variant_remarks.get(entry.variant_id or 0, NO_REMARKS))
        return Remarks(
            tags=tuple(dict.fromkeys(tag for one in found for tag in one.tags)),
            notes=tuple(dict.fromkeys(note for one in found for note in one.notes)),
        )


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
    notes: Notes
    """Of each entry for itself."""

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


def read_cells(
    session: Session,
    design: Design,
    questions: Sequence[MatrixQuestion],
    sweep_ids: Sequence[int],
    *,
    excerpt: int,
) -> dict[int, dict[Column, Cell]]:
    """Return question → column → cell; a question without texts has no cells."""
    ids = [one.id for one in questions]
    has_results = {one.id: one.answer_check.partition(":")[0] in BY_RESULT for one in questions}
    notes = _notes(session, ids)
    sorted_in: defaultdict[int, defaultdict[Column, list[Entry]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for entry in entries_of(session, ids, sweep_ids, excerpt=excerpt):
        column = design.column_of(entry.level)
        if column is not None:
            sorted_in[entry.question_id][column].append(entry)
    return {
        id: {column: _cell(own, notes, has_results[id]) for column, own in by_column.items()}
        for id, by_column in sorted_in.items()
    }


def _notes(session: Session, question_ids: Sequence[int]) -> Notes:
    answers, variants = (
        select(table.id).where(table.question_id.in_(question_ids))
        for table in (Answer, ReasoningVariant)
    )
    return Notes(
        answer_flags=read_flags(session, "answer", answers),
        variant_flags=read_flags(session, "variant", variants),
        answer_scores=scores_of(session, "answer", answers),
        variant_scores=scores_of(session, "variant", variants),
        answer_remarks=read_remarks(session, "answer", answers),
        variant_remarks=read_remarks(session, "variant", variants),
    )


def _cell(entries: Sequence[Entry], notes: Notes, has_results: bool) -> Cell:
    """Return the cell that holds ``entries``, equal answers together."""
    grouped: defaultdict[_Key, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[_key(entry, has_results)].append(entry)
    ordered = sorted(grouped.items(), key=lambda one: -len(one[1]))
    graded = [one.correct for one in entries if one.correct is not None]
    variants = {one.variant_id for one in entries}
    return Cell(
        groups=tuple(_group(key, own, notes) for key, own in ordered),
        n_answers=sum(one.answer_id is not None for one in entries),
        n_reasonings=len(variants - {None}),
        n_graded=len(graded),
        n_correct=sum(graded),
        score=_score(entries, notes),
    )


def _key(entry: Entry, has_results: bool) -> _Key:
    if entry.answer_id is None:
        return "reasonings", None
    if has_results and entry.correct is not None:
        return "result", f"{entry.correct} {entry.found}"
    return "text", entry.answer_hash


def _group(key: _Key, entries: Sequence[Entry], notes: Notes) -> AnswerGroup:
    first = entries[0]
    flags = Counter(name for entry in entries for name in notes.flags(entry))
    return AnswerGroup(
        entries=tuple(entries),
        text=first.answer,
        result=first.found if key[0] == "result" else None,
        correct=first.correct,
        flags=tuple(flags.most_common()),
        score=_score(entries, notes),
        notes=notes,
    )


def _score(entries: Sequence[Entry], notes: Notes) -> float | None:
    known = [score for one in entries if (score := notes.score(one)) is not None]
    return sum(known) / len(known) if known else None
