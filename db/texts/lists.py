"""Lists of reasonings and answers: filtered and paged in SQL, quick with 100,000 of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, literal, or_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db.bulk import COUNT_LIMIT, Page, page_of_keys
from db.rating.remarks import Remarked, questions_said, remarked, texts_said
from db.rating.summaries import Liking, liked_as
from db.search import has_more_hits, matching
from db.store.archive import has_archived, in_use
from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    ModelVersion,
    PromptFormat,
    Question,
    Role,
    SweepGeneration,
)
from db.texts.rows import (
    FLAGGED,
    TABLES,
    ListedKind,
    Text,
    TextRow,
    read_flags,
    read_mixed,
)

MAX_HITS = 10_000
"""Hits of a search that are read at once, the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFilter:
    """Which texts; an empty field asks for nothing, the values of one are alternatives."""

    kind: ListedKind | None = None
    sweep_id: int | None = None
    """Those that the sweep wrote or found written."""
    question_ids: tuple[int, ...] | None = None
    """Without it and a sweep, texts of archived questions are left out."""
    model_version_ids: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    """In which the weights that wrote them were served."""
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
    liking: Liking | None = None
    """What people's ratings say of them on the whole."""
    rater_tags: tuple[str, ...] = ()
    """Those that people gave one of these tags on a card, or whose question they gave it."""
    is_noted: bool = False
    """Those on whose card, or on whose question's, people left a note."""
    search: str = ""

    @property
    def remarks(self) -> list[Remarked]:
        """What people are to have left on the cards of the texts, or of their questions."""
        return remarked(self.rater_tags, is_noted=self.is_noted)


def scanned(column: InstrumentedAttribute[Any] | ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a number's ``column`` such that no index of its own is used.

    Without statistics SQLite would read and sort all rows that fit, instead of reading the newest
    rows in order until there are enough.
    """
    return column + 0


def generation_conditions(filter: TextFilter, table: Text) -> list[ColumnElement[bool]]:
    """Return what only the generation of a text can tell; texts of people have a role alone.

    The statement must join ``Generation`` to the text, as an outer join.
    """
    wanted: list[ColumnElement[bool]] = []
    if filter.model_version_ids:
        wanted.append(scanned(Generation.model_version_id).in_(filter.model_version_ids))
    if filter.precisions:
        served = select(ModelVersion.id).where(ModelVersion.precision.in_(filter.precisions))
        wanted.append(scanned(Generation.model_version_id).in_(served))
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
        # A name of its own: the statement around it may read questions too.
        question = aliased(Question)
        sent = select(Role.id).where(Role.name.in_(filter.roles))
        asked = select(question.id).where(question.role.in_(filter.roles))
        by_a_person = table.generation_id.is_(None) & scanned(table.question_id).in_(asked)
        wanted.append(or_(Generation.role_id.in_(sent), by_a_person))
    return wanted


def own_conditions(
    session: Session, filter: TextFilter, kind: ListedKind
) -> list[ColumnElement[bool]]:
    """Return what a text tells by itself: its source, its findings, its ratings."""
    table = TABLES[kind]
    target = FLAGGED[kind]
    names = select(target).where(target.is_not(None))
    wanted: list[ColumnElement[bool]] = []
    if filter.sources:
        wanted.append(table.source.in_(filter.sources))
    elif kind == "variant":
        wanted.append(table.source != "control")  # made for measuring, not for reading
    if filter.with_flags:
        having = names.where(CheckFlag.name.in_(filter.with_flags))
        wanted.append(scanned(table.id).in_(having))
    if filter.without_flags:
        having = names.where(CheckFlag.name.in_(filter.without_flags))
        wanted.append(scanned(table.id).not_in(having))
    if filter.has_flags is not None:
        flagged = select(CheckFlag.id).where(target == table.id).exists()
        wanted.append(flagged if filter.has_flags else ~flagged)
    if filter.liking is not None:
        wanted.append(liked_as(session, kind, scanned(table.id), filter.liking))
    for said in filter.remarks:
        of_question = scanned(table.question_id).in_(questions_said(session, said, by_itself=True))
        wanted.append(scanned(table.id).in_(texts_said(session, kind, said)) | of_question)
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHeader:
    """A text without the text itself: what it belongs to and what was found on it."""

    kind: ListedKind
    id: int
    question_id: int
    variant_id: int | None
    """The reasoning that an answer stands under; None for a reasoning."""
    content_hash: str
    source: str
    flags: frozenset[str]


def text_headers(session: Session, filter: TextFilter) -> list[TextHeader]:
    """Return all texts of one kind that fit ``filter``, oldest first; ``filter.kind`` is needed."""
    kind = filter.kind
    assert kind is not None
    table = TABLES[kind]
    wanted = _matching(session, filter, kind).order_by(None).subquery()
    flags = read_flags(session, kind, select(wanted.c.id))
    under = Answer.variant_id if kind == "answer" else literal(None)
    variant_id = under.label("variant_id")
    rows = session.execute(
        select(table.id, table.question_id, variant_id, table.content_hash, table.source)
        .join(wanted, wanted.c.id == table.id)
        .order_by(table.id)
    )
    return [TextHeader(kind=kind, **row._mapping, flags=frozenset(flags[row.id])) for row in rows]


def list_texts(
    session: Session, filter: TextFilter, page: int = 1, page_size: int = 25
) -> Page[TextRow]:
    """Return one page of the texts that fit ``filter``, newest first."""
    kinds = [filter.kind] if filter.kind else list(TABLES)
    found, total, page = _found(session, filter, kinds, page, page_size)
    rows = read_mixed(session, [(row.kind, row.id) for row in found])
    return Page(rows=rows, total=total, page=page, page_size=page_size)


def _found(
    session: Session, filter: TextFilter, kinds: list[ListedKind], page: int, page_size: int
) -> tuple[Sequence[Any], int, int]:
    """Return kind and id of the texts of a page, the capped count, and the page.

    A search reads its newest hits first. They tell all where there are no more, or where enough
    of them fit; a word that stands in most texts, though in few of a small sweep, needs the rest.
    The newest hits are those that were indexed last, which is the order in which texts come.
    """
    if filter.search.strip():
        # Where search alone narrows the list, no page shows more hits than are counted.
        is_search_alone = replace(filter, search="", kind=None) == TextFilter()
        max_hits = COUNT_LIMIT if is_search_alone else MAX_HITS
        found = page_of_keys(session, _newest(session, filter, kinds, max_hits), page, page_size)
        if (
            is_search_alone
            or found[1] >= COUNT_LIMIT
            or not any(has_more_hits(session, kind, filter.search, max_hits) for kind in kinds)
        ):
            return found
    return page_of_keys(session, _newest(session, filter, kinds), page, page_size)


def _newest(
    session: Session, filter: TextFilter, kinds: list[ListedKind], max_hits: int | None = None
) -> Select[*tuple[Any, ...]]:
    """Return the select of kind and id, newest first; each kind by an index of its own."""
    each = [_matching(session, filter, kind, max_hits) for kind in kinds]
    if len(each) == 1:
        return each[0]
    both = union_all(*(select(one.limit(COUNT_LIMIT).subquery()) for one in each)).subquery()
    return select(both.c.kind, both.c.id).order_by(both.c.newest.desc(), both.c.id.desc())


def _matching(
    session: Session, filter: TextFilter, kind: ListedKind, max_hits: int | None = None
) -> Select[*tuple[Any, ...]]:
    table = TABLES[kind]
    newest: Any = table.created_at
    if filter.sweep_id is not None:
        newest = SweepGeneration.generation_id
    query: Select[*tuple[Any, ...]] = select(
        literal(kind).label("kind"), table.id, newest.label("newest")
    ).select_from(table)
    hits = None
    if max_hits is not None:
        hits = matching(session, kind, filter.search, max_hits)
    if hits is not None:
        # Hits first, and each text by its key: SQLite must not look for an order of its own.
        newest_hits = hits.cte()
        query = query.join(newest_hits, table.id == scanned(newest_hits.c.text_id))
    if filter.sweep_id is not None:
        sweep_id = SweepGeneration.sweep_id if hits is None else scanned(SweepGeneration.sweep_id)
        query = query.join(
            SweepGeneration, SweepGeneration.generation_id == table.generation_id
        ).where(sweep_id == filter.sweep_id)
    if of_generation := generation_conditions(filter, table):
        query = query.outerjoin(Generation, Generation.id == table.generation_id).where(
            *of_generation
        )
    query = query.where(*_conditions(session, filter, kind, table, is_sought=hits is None))
    return query.order_by(newest.desc(), table.id.desc())


def _conditions(
    session: Session, filter: TextFilter, kind: ListedKind, table: Text, *, is_sought: bool
) -> list[ColumnElement[bool]]:
    """Return the conditions on a text; ``is_sought``: what is searched for is one of them."""
    wanted: list[ColumnElement[bool]] = []
    if is_sought and filter.search.strip():
        found = matching(session, kind, filter.search)
        # The texts of a sweep are read in order; SQLite would go through all hits for each of them.
        own = table.id if filter.sweep_id is None else scanned(table.id)
        wanted.append(own.in_(found) if found is not None else false())
    if filter.question_ids is not None:
        wanted.append(table.question_id.in_(filter.question_ids))
    elif filter.sweep_id is None and has_archived(session, "question"):
        own_question = (Question.id == table.question_id) & in_use(Question, archived=True)
        wanted.append(~select(Question.id).where(own_question).exists())
    if filter.languages:
        spoken = select(Question.id).where(Question.language.in_(filter.languages))
        wanted.append(scanned(table.question_id).in_(spoken))
    return wanted + own_conditions(session, filter, kind)
