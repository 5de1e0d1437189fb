"""Lists of reasonings and answers: filtered and paged in SQL, quick with 100,000 of them."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, literal, or_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.cards import QuestionCard, VariantCard, question_card
from db.pages import COUNT_LIMIT, Page, page_of_keys
from db.provenance import Provenance, provenance
from db.refs import Ref, parse_ref
from db.search import matching
from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    PromptFormat,
    Question,
    Role,
    SweepGeneration,
)
from db.text_rows import TABLES, ListedKind, Text, TextRow, read_mixed

__all__ = [
    "Provenance",
    "QuestionCard",
    "Ref",
    "TextFilter",
    "TextKey",
    "TextRow",
    "VariantCard",
    "list_texts",
    "parse_ref",
    "provenance",
    "question_card",
    "text_keys",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFilter:
    """Which texts; an empty field asks for nothing, the values of one are alternatives."""

    kind: ListedKind | None = None
    sweep_id: int | None = None
    """Those that the sweep wrote or found written."""
    question_ids: tuple[int, ...] | None = None
    model_version_ids: tuple[int, ...] = ()
    formats: tuple[str, ...] = ()
    """Names with version, e.g. ``tagged@1``."""
    roles: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    finish_reasons: tuple[str, ...] = ()
    with_flags: tuple[str, ...] = ()
    """Texts on which one of these checks found something."""
    without_flags: tuple[str, ...] = ()
    """Texts on which none of these checks found anything."""
    has_flags: bool | None = None
    search: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextKey:
    """A text without its words: what it belongs to and what was found on it."""

    kind: ListedKind
    id: int
    question_id: int
    variant_id: int | None
    """The reasoning that an answer stands under; None for a reasoning."""
    content_hash: str
    source: str
    flags: frozenset[str]


def text_keys(session: Session, filter: TextFilter) -> list[TextKey]:
    """Return all texts of one kind that fit ``filter``, oldest first; ``filter.kind`` is needed."""
    kind = filter.kind
    assert kind is not None
    table = TABLES[kind]
    wanted = _matching(session, filter, kind).order_by(None).subquery()
    flagged = CheckFlag.variant_id if kind == "variant" else CheckFlag.answer_id
    flags: defaultdict[int, set[str]] = defaultdict(set)
    named = select(flagged, CheckFlag.name).join(wanted, wanted.c.id == flagged)
    for flagged_id, name in session.execute(named):
        assert flagged_id is not None
        flags[flagged_id].add(name)
    variant_id = Answer.variant_id if kind == "answer" else literal(None)
    rows = session.execute(
        select(table.id, table.question_id, variant_id, table.content_hash, table.source)
        .join(wanted, wanted.c.id == table.id)
        .order_by(table.id)
    )
    return [
        TextKey(
            kind=kind,
            id=text_id,
            question_id=question_id,
            variant_id=given,
            content_hash=content_hash,
            source=source,
            flags=frozenset(flags[text_id]),
        )
        for text_id, question_id, given, content_hash, source in rows
    ]


def list_texts(
    session: Session, filter: TextFilter, page: int = 1, page_size: int = 25
) -> Page[TextRow]:
    """Return one page of the texts that fit ``filter``, newest first."""
    kinds = [filter.kind] if filter.kind else list(TABLES)
    found, total, page = page_of_keys(session, _newest(session, filter, kinds), page, page_size)
    rows = read_mixed(session, [(row.kind, row.id) for row in found])
    return Page(rows=rows, total=total, page=page, page_size=page_size)


def _newest(
    session: Session, filter: TextFilter, kinds: list[ListedKind]
) -> Select[*tuple[Any, ...]]:
    """Return the select of kind and id, newest first; each kind by an index of its own."""
    each = [_matching(session, filter, kind) for kind in kinds]
    if len(each) == 1:
        return each[0]
    both = union_all(*(select(one.limit(COUNT_LIMIT).subquery()) for one in each)).subquery()
    return select(both.c.kind, both.c.id).order_by(both.c.newest.desc(), both.c.id.desc())


def _matching(session: Session, filter: TextFilter, kind: ListedKind) -> Select[*tuple[Any, ...]]:
    table = TABLES[kind]
    newest: Any = table.created_at
    if filter.sweep_id is not None:
        newest = SweepGeneration.generation_id
    query: Select[*tuple[Any, ...]] = select(
        literal(kind).label("kind"), table.id, newest.label("newest")
    ).select_from(table)
    if filter.sweep_id is not None:
        query = query.join(
            SweepGeneration, SweepGeneration.generation_id == table.generation_id
        ).where(SweepGeneration.sweep_id == filter.sweep_id)
    if told := _generation_conditions(filter, table):
        query = query.outerjoin(Generation, Generation.id == table.generation_id).where(*told)
    query = query.where(*_conditions(session, filter, kind, table))
    return query.order_by(newest.desc(), table.id.desc())


def _generation_conditions(filter: TextFilter, table: Text) -> list[ColumnElement[bool]]:
    """Return what only the generation of a text can tell; texts of people have a role alone."""
    wanted: list[ColumnElement[bool]] = []
    if filter.model_version_ids:
        wanted.append(_scanned(Generation.model_version_id).in_(filter.model_version_ids))
    if filter.modes:
        wanted.append(Generation.mode.in_(filter.modes))
    if filter.finish_reasons:
        wanted.append(Generation.finish_reason.in_(filter.finish_reasons))
    if filter.formats:
        pairs = [name.partition("@") for name in filter.formats]
        formats = select(PromptFormat.id).where(
            or_(
                *(
                    and_(PromptFormat.name == name, PromptFormat.version == int(version))
                    for name, _, version in pairs
                    if version.isdigit()
                ),
                false(),
            )
        )
        wanted.append(Generation.prompt_format_id.in_(formats))
    if filter.roles:
        sent = select(Role.id).where(Role.name.in_(filter.roles))
        asked = select(Question.id).where(Question.role.in_(filter.roles))
        by_a_person = table.generation_id.is_(None) & _scanned(table.question_id).in_(asked)
        wanted.append(or_(Generation.role_id.in_(sent), by_a_person))
    return wanted


def _conditions(
    session: Session, filter: TextFilter, kind: ListedKind, table: Text
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if filter.search.strip():
        found = matching(session, kind, filter.search)
        # The texts of a sweep are read in order; SQLite would go through all hits for each of them.
        own = table.id if filter.sweep_id is None else _scanned(table.id)
        wanted.append(own.in_(found) if found is not None else false())
    if filter.question_ids is not None:
        wanted.append(table.question_id.in_(filter.question_ids))
    if filter.languages:
        spoken = select(Question.id).where(Question.language.in_(filter.languages))
        wanted.append(_scanned(table.question_id).in_(spoken))
    if filter.sources:
        wanted.append(table.source.in_(filter.sources))
    return wanted + _flag_conditions(filter, kind, table)


def _scanned(column: InstrumentedAttribute[int]) -> ColumnElement[int]:
    """Return ``column`` such that no index of its own is used.

    Without statistics SQLite would read and sort all rows that fit, instead of reading the newest
    rows in order until there are enough.
    """
    return column + 0


def _flag_conditions(
    filter: TextFilter, kind: ListedKind, table: Text
) -> list[ColumnElement[bool]]:
    target = CheckFlag.variant_id if kind == "variant" else CheckFlag.answer_id
    names = select(target).where(target.is_not(None))
    wanted: list[ColumnElement[bool]] = []
    if filter.with_flags:
        having = names.where(CheckFlag.name.in_(filter.with_flags))
        wanted.append(_scanned(table.id).in_(having))
    if filter.without_flags:
        having = names.where(CheckFlag.name.in_(filter.without_flags))
        wanted.append(_scanned(table.id).not_in(having))
    if filter.has_flags is not None:
        flagged = select(CheckFlag.id).where(target == table.id).exists()
        wanted.append(flagged if filter.has_flags else ~flagged)
    return wanted
