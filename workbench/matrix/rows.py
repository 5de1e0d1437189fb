"""The rows of a matrix: which questions it asks about, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import Select, func, select, union
from sqlalchemy.orm import Session

from db.counts import background_count, cached_count
from db.questions import QuestionFilter, question_ids
from db.sweeps import sweep_plan
from db.tables import Answer, AnswerGrade, CheckFlag, Generation, Rating, ReasoningVariant
from db.texts.design import Level, entries_of, level_names, sums_of_levels
from db.texts.grades import grades_mark
from workbench.matrix.columns import Condition, Design
from workbench.matrix.totals import CountedLevels, Total, totals

Show = Literal["all", "incorrect", "differ", "found"]
SHOWN: tuple[Show, ...] = get_args(Show)
"""Questions: all; with an incorrect answer; with correct and incorrect ones; with findings."""
SAMPLED = 6
"""Questions, evenly spread, that tell the levels of a large design until all are counted."""
MOST_ROWS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixQuery:
    """Which matrix: of which sweeps, which rows and which columns."""

    sweep_ids: tuple[int, ...] = ()
    """None: all texts of the store."""
    by: tuple[str, ...] = ()
    only: tuple[Condition, ...] = ()
    search: str = ""
    tags: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    rater_tags: tuple[str, ...] = ()
    """Questions on a card of which people gave one of these tags."""
    is_noted: bool = False
    """Questions on a card of which people left a note."""
    show: Show = "all"

    @property
    def narrows(self) -> bool:
        """Whether it shows only some of the questions."""
        said = self.rater_tags or self.is_noted
        return bool(self.search or self.tags or self.languages or said or self.show != "all")


def matrix_rows(session: Session, query: MatrixQuery, *, most: int | None = MOST_ROWS) -> list[int]:
    """Return the ids of the questions shown: of sweeps in their order, else newest first."""
    asked = QuestionFilter(
        search=query.search,
        tags=query.tags,
        languages=query.languages,
        rater_tags=query.rater_tags,
        is_noted=query.is_noted,
        has_answers=None if query.sweep_ids else True,
        archived=None if query.sweep_ids else False,  # a sweep shows all that it asked
    )
    narrows = asked != QuestionFilter(has_answers=asked.has_answers, archived=asked.archived)
    if not query.sweep_ids:
        found = question_ids(session, asked)[::-1]
    else:
        plans = [sweep_plan(session, one)["question_ids"] for one in query.sweep_ids]
        found = list(dict.fromkeys(id for ids in plans for id in ids))
        if narrows:
            fitting = set(question_ids(session, asked))
            found = [one for one in found if one in fitting]
    if query.show != "all":
        wanted = _of_kind(session, query.show)
        found = [one for one in found if one in wanted]
    return found[:most]


def _of_kind(session: Session, show: Show) -> frozenset[int]:
    mark = (grades_mark(session), session.scalar(select(func.max(CheckFlag.id))))
    return cached_count(
        session,
        ("matrix rows", show),
        mark,
        lambda: frozenset(session.scalars(_kind(show))),
        is_moving=True,
    )


def _kind(show: Show) -> Select[int]:
    graded = select(Answer.question_id).join(AnswerGrade, AnswerGrade.answer_id == Answer.id)
    graded = graded.where(AnswerGrade.is_current)
    if show == "incorrect":
        return graded.where(AnswerGrade.correct.is_(False)).distinct()
    if show == "differ":
        grouped = graded.where(AnswerGrade.correct.is_not(None)).group_by(Answer.question_id)
        return grouped.having(func.count(AnswerGrade.correct.distinct()) > 1)
    flagged = union(
        select(Answer.question_id).join(CheckFlag, CheckFlag.answer_id == Answer.id),
        select(ReasoningVariant.question_id).join(
            CheckFlag, CheckFlag.variant_id == ReasoningVariant.id
        ),
    ).subquery()
    return select(flagged.c.question_id)


def matrix_mark(session: Session) -> tuple[int, ...]:
    """Return numbers that change with all that a matrix shows."""
    newest = [session.scalar(select(func.max(table.id))) or 0 for table in (Generation, Rating)]
    return (*newest, grades_mark(session))


def count_levels(session: Session, sweep_ids: Sequence[int]) -> CountedLevels:
    """Count what there is of each level; it takes seconds with a million texts."""
    mark = matrix_mark(session)
    return CountedLevels.of(sums_of_levels(session, sweep_ids), mark)


def counted_levels(session: Session, sweep_ids: Sequence[int]) -> CountedLevels | None:
    """Return the same at once: None while very many texts are first counted.

    While texts come it may be a little old, as its mark tells.
    """
    return background_count(
        session,
        ("matrix", tuple(sweep_ids)),
        matrix_mark(session),
        lambda own: count_levels(own, sweep_ids),
    )


def matrix_totals(
    session: Session,
    query: MatrixQuery,
    design: Design,
    counted: CountedLevels,
    rows: Sequence[int],
) -> list[Total]:
    """Return the totals of all columns over the questions that are shown."""
    return cached_count(
        session,
        ("matrix totals", query),
        (matrix_mark(session), counted.mark),
        lambda: totals(counted, design, rows if query.narrows else None),
    )


def matrix_design(
    session: Session,
    query: MatrixQuery,
    rows: Sequence[int],
    counted: CountedLevels | None,
    near: Sequence[int] = (),
) -> Design:
    """Return the design: of all texts where they are counted, else of some questions.

    Args:
        session: Of the store.
        query: What is asked for.
        rows: All questions that are shown.
        counted: All levels, where they are known.
        near: Questions whose levels are needed in any case.
    """
    known: set[Level] = set(counted.levels if counted else ())
    step = max(1, len(rows) // SAMPLED)
    if not known:  # also where they were counted before the first text came
        looked_at = list(dict.fromkeys([*near, *rows[::step][:SAMPLED]]))
        found = entries_of(session, looked_at, query.sweep_ids, excerpt=1)
        known |= {one.level for one in found}
    return Design(
        names=level_names(session), known=frozenset(known), asked=query.by, only=query.only
    )
