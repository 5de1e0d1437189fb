"""Questions against their reasonings: one page of rows, each with its first cells.

A cell is a reasoning with the answers under it, or all answers of a question that stand under none.
It is shown where its reasoning or one of its answers meets every condition on texts. Texts are cut
by the store, so that a page costs the same however long they are.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from db.bulk import Page, page_of_keys
from db.rating.remarks import Remarks, questions_said, read_remarks
from db.rating.summaries import RatingSummary, answer_summaries, rating_summaries
from db.search import matching
from db.store.archive import in_use
from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    ModelVersion,
    Question,
    QuestionTag,
    ReasoningVariant,
    SweepGeneration,
    Tag,
)
from db.texts.lists import TextFilter, generation_conditions, own_conditions, scanned
from db.texts.rows import TABLES, ListedKind, read_flags

MAX_EXCERPT = 200
"""Characters read of each text."""
CellKey = tuple[ListedKind, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """A reasoning and what is under it, or the answers under none."""

    kind: ListedKind
    """``answer``: the answers under no reasoning, named by the first of them."""
    id: int
    excerpt: str
    """The first ``MAX_EXCERPT`` characters."""
    source: str
    model: str | None
    flags: tuple[str, ...]
    """Findings on this text."""
    n_answers: int
    answer_flags: tuple[tuple[str, int], ...]
    """Findings on its answers, each with the number of answers."""
    rating: RatingSummary | None
    answers_rating: RatingSummary | None
    """Of the answers under a reasoning, together."""
    remarks: Remarks | None
    """What people left on it and on its answers: tags and notes."""

    @property
    def ref(self) -> str:
        """Its short name, e.g. ``v12``."""
        return f"{self.kind[0]}{self.id}"


def read_cells(
    session: Session, variant_ids: Sequence[int], plain_ids: Iterable[int]
) -> dict[CellKey, MatrixCell]:
    """Return the cells of these reasonings, and of the answers under none named by these ones."""
    plain_ids = list(plain_ids)
    answers = _under(session, variant_ids)
    flags_under = _flags_under(session, variant_ids)
    rated_under = answer_summaries(session, variant_ids)
    siblings = _siblings(session, plain_ids)
    found: dict[CellKey, MatrixCell] = {}
    kinds: dict[ListedKind, Sequence[int]] = {"variant": variant_ids, "answer": plain_ids}
    for kind, ids in kinds.items():
        table = TABLES[kind]
        flags = read_flags(session, kind, ids)
        ratings = rating_summaries(session, kind, ids)
        remarks = read_remarks(session, kind, ids, under=True)
        rows = session.execute(
            select(
                table.id,
                func.substr(table.text, 1, MAX_EXCERPT).label("excerpt"),
                table.source,
                ModelVersion.name.label("model"),
            )
            .outerjoin(Generation, Generation.id == table.generation_id)
            .outerjoin(ModelVersion, ModelVersion.id == Generation.model_version_id)
            .where(table.id.in_(ids))
        )
        is_variant = kind == "variant"
        for row in rows:
            found[kind, row.id] = MatrixCell(
                kind=kind,
                **row._asdict(),
                flags=tuple(flags[row.id]),
                n_answers=answers.get(row.id, 0) if is_variant else siblings[row.id],
                answer_flags=tuple(flags_under[row.id]) if is_variant else (),
                rating=ratings.get(row.id),
                answers_rating=rated_under.get(row.id) if is_variant else None,
                remarks=remarks.get(row.id),
            )
    return found


def cells_of(
    session: Session, question_id: int, page: int = 1, page_size: int = 20
) -> Page[MatrixCell]:
    """Return one page of a question's cells; that of its answers under no reasoning comes first."""
    plain = select(func.min(Answer.id)).where(
        Answer.question_id == question_id, scanned(Answer.variant_id).is_(None)
    )
    first = select(literal(0).label("rank"), plain.scalar_subquery().label("id"))
    others = select(literal(1).label("rank"), ReasoningVariant.id).where(
        ReasoningVariant.question_id == question_id, ReasoningVariant.source != "control"
    )
    keys = union_all(first, others).subquery()
    found, total, page = page_of_keys(
        session,
        select(keys).where(keys.c.id.is_not(None)).order_by(keys.c.rank, keys.c.id),
        page,
        page_size,
    )
    own: list[CellKey] = [("variant" if row.rank else "answer", row.id) for row in found]
    cells = read_cells(
        session,
        [text_id for kind, text_id in own if kind == "variant"],
        [text_id for kind, text_id in own if kind == "answer"],
    )
    rows = tuple(cells[key] for key in own)
    return Page(rows=rows, total=total, page=page, page_size=page_size)


def _under(session: Session, variant_ids: Sequence[int]) -> dict[int | None, int]:
    counted = select(Answer.variant_id, func.count()).where(Answer.variant_id.in_(variant_ids))
    return dict(session.execute(counted.group_by(Answer.variant_id)).all())


def _siblings(session: Session, answer_ids: Sequence[int]) -> dict[int, int]:
    """Return how many answers of its question stand under no reasoning, by answer."""
    other = aliased(Answer)
    counted = (
        select(Answer.id, func.count())
        .join(other, other.question_id == Answer.question_id)
        .where(Answer.id.in_(answer_ids), scanned(other.variant_id).is_(None))
        .group_by(Answer.id)
    )
    return dict(session.execute(counted).all())


def _flags_under(
    session: Session, variant_ids: Sequence[int]
) -> defaultdict[int | None, list[tuple[str, int]]]:
    flags: defaultdict[int | None, list[tuple[str, int]]] = defaultdict(list)
    counted = (
        select(Answer.variant_id, CheckFlag.name, func.count())
        .join(CheckFlag, CheckFlag.answer_id == Answer.id)
        .where(Answer.variant_id.in_(variant_ids))
        .group_by(Answer.variant_id, CheckFlag.name)
        .order_by(func.count().desc(), CheckFlag.name)
    )
    for variant_id, name, n in session.execute(counted):
        flags[variant_id].append((name, n))
    return flags


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFilter(TextFilter):
    """Which questions and cells; ``kind`` is what must meet the conditions on texts.

    Words are searched for in the question, whose tags and language are asked for as well; each
    question is asked for the sweep.
    """

    tags: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[ListedKind, ...]:
        """The kinds of texts that may meet the conditions."""
        return (self.kind,) if self.kind else ("variant", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """A question and its first cells."""

    question_id: int
    excerpt: str
    role: str
    language: str | None
    cells: tuple[MatrixCell, ...]
    n_cells: int
    """All that fit; ``cells`` holds the first of them."""


def matrix(
    session: Session,
    filter: MatrixFilter,
    page: int = 1,
    *,
    page_size: int = 20,
    max_cells: int = 4,
) -> Page[MatrixRow]:
    """Return one page of the questions that have a cell to show, newest first."""
    keys = select(Question.id).where(*_of_question(session, filter))
    keys = keys.where(or_(*(_has_text(session, filter, kind) for kind in filter.kinds)))
    found, total, page = page_of_keys(session, keys.order_by(Question.id.desc()), page, page_size)
    ids = [row.id for row in found]
    return Page(
        rows=_rows(session, filter, ids, max_cells) if ids else (),
        total=total,
        page=page,
        page_size=page_size,
    )


def _of_question(session: Session, filter: MatrixFilter) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if filter.sweep_id is None:  # a sweep shows all that it asked
        wanted.append(in_use(Question))
    if filter.search.strip():
        found = matching(session, "question", filter.search)
        wanted.append(scanned(Question.id).in_(found) if found is not None else false())
    if filter.tags:
        tagged = select(QuestionTag.question_id).join(Tag).where(Tag.name.in_(filter.tags))
        wanted.append(scanned(Question.id).in_(tagged))
    # They are few: begun with them, no other question is looked at.
    wanted += [Question.id.in_(questions_said(session, said)) for said in filter.remarks]
    if filter.languages:
        # Written so that the index of languages is not read and sorted, but the newest in order.
        wanted.append(func.coalesce(Question.language, "").in_(filter.languages))
    return wanted


def _has_text(session: Session, filter: MatrixFilter, kind: ListedKind) -> ColumnElement[bool]:
    return _fitting(session, filter, kind).where(TABLES[kind].question_id == Question.id).exists()


def _fitting(session: Session, filter: MatrixFilter, kind: ListedKind) -> Select[*tuple[Any, ...]]:
    """Return the select of the ids of the texts of ``kind`` that meet the conditions on texts.

    Whoever uses it asks for the texts of a question or of a reasoning, by their index.
    """
    table = TABLES[kind]
    made_by = Generation.id == table.generation_id
    return select(table.id).outerjoin(Generation, made_by).where(_meets(session, filter, kind))


def _meets(session: Session, filter: MatrixFilter, kind: ListedKind) -> ColumnElement[bool]:
    """Return the conditions on texts; the statement must join ``Generation`` to the text."""
    table = TABLES[kind]
    wanted = generation_conditions(filter, table) + own_conditions(session, filter, kind)
    if filter.sweep_id is not None:
        wanted.append(
            exists().where(
                SweepGeneration.sweep_id == filter.sweep_id,
                SweepGeneration.generation_id == table.generation_id,
            )
        )
    return and_(true(), *wanted)


def _rows(
    session: Session, filter: MatrixFilter, ids: Sequence[int], max_cells: int
) -> tuple[MatrixRow, ...]:
    plain = _plain_answers(session, filter, ids)
    variants, totals = _variants(session, filter, ids, max_cells)
    shown = [variant_id for own in variants.values() for variant_id in own]
    cells = read_cells(session, shown, plain.values())
    asked = session.execute(
        select(
            Question.id.label("question_id"),
            func.substr(Question.text, 1, MAX_EXCERPT).label("excerpt"),
            Question.role,
            Question.language,
        ).where(Question.id.in_(ids))
    )
    questions = {row.question_id: row for row in asked}
    rows = []
    for question_id in ids:
        own: list[CellKey] = []
        if question_id in plain:
            own.append(("answer", plain[question_id]))
        own += [("variant", variant_id) for variant_id in variants[question_id]]
        row = questions[question_id]
        rows.append(
            MatrixRow(
                **row._mapping,
                cells=tuple(cells[key] for key in own[:max_cells]),
                n_cells=totals[question_id] + (question_id in plain),
            )
        )
    return tuple(rows)


def _variants(
    session: Session, filter: MatrixFilter, question_ids: Sequence[int], limit: int
) -> tuple[defaultdict[int, list[int]], defaultdict[int, int]]:
    """Return the first reasonings of each question that have something to show, and how many."""
    fits: list[ColumnElement[bool]] = []
    if "variant" in filter.kinds:
        fits.append(_meets(session, filter, "variant"))
    if "answer" in filter.kinds:
        under = Answer.variant_id == ReasoningVariant.id
        fits.append(_fitting(session, filter, "answer").where(under).exists())
    place = func.row_number().over(
        partition_by=ReasoningVariant.question_id, order_by=ReasoningVariant.id
    )
    counted = func.count().over(partition_by=ReasoningVariant.question_id)
    placed = (
        select(
            ReasoningVariant.id,
            ReasoningVariant.question_id,
            place.label("place"),
            counted.label("total"),
        )
        .outerjoin(Generation, Generation.id == ReasoningVariant.generation_id)
        .where(ReasoningVariant.question_id.in_(question_ids), or_(*fits))
        .subquery()
    )
    first: defaultdict[int, list[int]] = defaultdict(list)
    totals: defaultdict[int, int] = defaultdict(int)
    rows = session.execute(
        select(placed).where(placed.c.place <= limit).order_by(placed.c.question_id, placed.c.place)
    )
    for row in rows:
        first[row.question_id].append(row.id)
        totals[row.question_id] = row.total
    return first, totals


def _plain_answers(
    session: Session, filter: MatrixFilter, question_ids: Sequence[int]
) -> dict[int, int]:
    """Return the first answer under no reasoning that fits, by question."""
    if "answer" not in filter.kinds:
        return {}
    query = (
        _fitting(session, filter, "answer")
        .where(Answer.question_id.in_(question_ids), scanned(Answer.variant_id).is_(None))
        .with_only_columns(Answer.question_id, func.min(Answer.id))
        .group_by(Answer.question_id)
    )
    return dict(session.execute(query).all())
