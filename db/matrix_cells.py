"""The cells of the matrix: a reasoning with what is under it, read for a whole page at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, literal, select, union_all
from sqlalchemy.orm import Session, aliased

from db.pages import Page, page_of_keys
from db.rating_scores import RatingSummary, answer_summaries, rating_summaries
from db.tables import Answer, CheckFlag, Generation, ModelVersion, ReasoningVariant
from db.text_filter import scanned
from db.text_rows import TABLES, ListedKind

WORDS = 200
"""Characters read of each text."""

CellKey = tuple[ListedKind, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A reasoning and what is under it, or the answers under none."""

    kind: ListedKind
    """``answer``: the answers under no reasoning, named by the first of them."""
    id: int
    words: str
    """The first ``WORDS`` characters."""
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

    @property
    def ref(self) -> str:
        """Its short name, e.g. ``v12``."""
        return f"{self.kind[0]}{self.id}"


def read_cells(
    session: Session, variant_ids: Sequence[int], plain_ids: Iterable[int]
) -> dict[CellKey, Cell]:
    """Return the cells of these reasonings, and of the answers under none named by these ones."""
    plain_ids = list(plain_ids)
    answers = _under(session, variant_ids)
    flags_under = _flags_under(session, variant_ids)
    rated_under = answer_summaries(session, variant_ids)
    siblings = _siblings(session, plain_ids)
    found: dict[CellKey, Cell] = {}
    kinds: dict[ListedKind, Sequence[int]] = {"variant": variant_ids, "answer": plain_ids}
    for kind, ids in kinds.items():
        table = TABLES[kind]
        flags = _flags(session, kind, ids)
        ratings = rating_summaries(session, kind, ids)
        rows = session.execute(
            select(
                table.id,
                func.substr(table.text, 1, WORDS).label("words"),
                table.source,
                ModelVersion.name.label("model"),
            )
            .outerjoin(Generation, Generation.id == table.generation_id)
            .outerjoin(ModelVersion, ModelVersion.id == Generation.model_version_id)
            .where(table.id.in_(ids))
        )
        is_variant = kind == "variant"
        for row in rows:
            found[kind, row.id] = Cell(
                kind=kind,
                **row._asdict(),
                flags=tuple(flags[row.id]),
                n_answers=answers.get(row.id, 0) if is_variant else siblings[row.id],
                answer_flags=tuple(flags_under[row.id]) if is_variant else (),
                rating=ratings.get(row.id),
                answers_rating=rated_under.get(row.id) if is_variant else None,
            )
    return found


def cells_of(session: Session, question_id: int, page: int = 1, page_size: int = 20) -> Page[Cell]:
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


def _flags(
    session: Session, kind: ListedKind, ids: Sequence[int]
) -> defaultdict[int | None, list[str]]:
    target = CheckFlag.variant_id if kind == "variant" else CheckFlag.answer_id
    flags: defaultdict[int | None, list[str]] = defaultdict(list)
    named = select(target, CheckFlag.name).where(target.in_(ids)).order_by(CheckFlag.name)
    for text_id, name in session.execute(named):
        flags[text_id].append(name)
    return flags


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
