"""Lists of reasonings and answers: filtered and paged in SQL, quick with 100,000 of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, false, literal, select, union_all
from sqlalchemy.orm import Session

from db.cards import QuestionCard, VariantCard, question_card
from db.pages import COUNT_LIMIT, Page, page_of_keys
from db.provenance import Provenance, provenance
from db.refs import Ref, parse_ref
from db.search import has_more_hits, matching
from db.tables import Answer, CheckFlag, Generation, Question, SweepGeneration
from db.text_filter import TextFilter, generation_conditions, own_conditions, scanned
from db.text_rows import TABLES, ListedKind, Text, TextRow, read_mixed

MOST_HITS = 10_000
"""Hits of a search that are read at once, the newest ones."""

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
        most = COUNT_LIMIT if is_search_alone else MOST_HITS
        found = page_of_keys(session, _newest(session, filter, kinds, most), page, page_size)
        if (
            is_search_alone
            or found[1] >= COUNT_LIMIT
            or not any(has_more_hits(session, kind, filter.search, most) for kind in kinds)
        ):
            return found
    return page_of_keys(session, _newest(session, filter, kinds), page, page_size)


def _newest(
    session: Session, filter: TextFilter, kinds: list[ListedKind], most_hits: int | None = None
) -> Select[*tuple[Any, ...]]:
    """Return the select of kind and id, newest first; each kind by an index of its own."""
    each = [_matching(session, filter, kind, most_hits) for kind in kinds]
    if len(each) == 1:
        return each[0]
    both = union_all(*(select(one.limit(COUNT_LIMIT).subquery()) for one in each)).subquery()
    return select(both.c.kind, both.c.id).order_by(both.c.newest.desc(), both.c.id.desc())


def _matching(
    session: Session, filter: TextFilter, kind: ListedKind, most_hits: int | None = None
) -> Select[*tuple[Any, ...]]:
    table = TABLES[kind]
    newest: Any = table.created_at
    if filter.sweep_id is not None:
        newest = SweepGeneration.generation_id
    query: Select[*tuple[Any, ...]] = select(
        literal(kind).label("kind"), table.id, newest.label("newest")
    ).select_from(table)
    hits = None
    if most_hits is not None:
        hits = matching(session, kind, filter.search, most_hits)
    if hits is not None:
        # Hits first, and each text by its key: SQLite must not look for an order of its own.
        newest_hits = hits.cte()
        query = query.join(newest_hits, table.id == scanned(newest_hits.c.text_id))
    if filter.sweep_id is not None:
        sweep_id = SweepGeneration.sweep_id if hits is None else scanned(SweepGeneration.sweep_id)
        query = query.join(
            SweepGeneration, SweepGeneration.generation_id == table.generation_id
        ).where(sweep_id == filter.sweep_id)
    if told := generation_conditions(filter, table):
        query = query.outerjoin(Generation, Generation.id == table.generation_id).where(*told)
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
    if filter.languages:
        spoken = select(Question.id).where(Question.language.in_(filter.languages))
        wanted.append(scanned(table.question_id).in_(spoken))
    return wanted + own_conditions(session, filter, kind)
