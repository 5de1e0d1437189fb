"""Questions by meaning: found, counted, added, and edited by making a child."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, false, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.bulk import COUNT_LIMIT, Page, chunks, insert_missing, page_of_keys
from db.errors import UsageError, existing
from db.identity import question_hash
from db.input_text import plain, problem_of
from db.rating.remarks import questions_said, remarked
from db.search import index_texts, matching
from db.store.archive import has_archived, in_use
from db.tables import ROLES, Answer, Question, QuestionTag, ReasoningVariant, Role, Tag
from db.tables.work import WITH_HIDDEN, is_hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRow:
    """One question; safe to use after the session is closed."""

    id: int
    text: str
    context: str
    reference_answer: str | None
    answer_check: str | None
    """How answers are compared with the reference answer, e.g. ``number:1%``."""
    role: str
    category: str | None
    language: str | None
    source: str
    external_id: str | None
    parent_id: int | None
    root_id: int | None
    move: str | None
    held_out: bool | None
    in_pool: bool
    """False: a dialogue brought it up, and nobody took it into the pool yet."""
    archived_at: datetime | None
    created_at: datetime
    tags: tuple[str, ...]
    fields: dict[str, Any]
    """What else its row of the file held: column → value."""
    n_variants: int
    n_answers: int

    @property
    def ref(self) -> str:
        """Its short name, e.g. ``q12``."""
        return f"q{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionFilter:
    """Which questions; an empty field asks for nothing, the values of one are alternatives."""

    search: str = ""
    ids: tuple[int, ...] | None = None
    """Only these; an empty tuple means none, None any."""
    tags: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    has_answers: bool | None = None
    held_out: bool | None = None
    in_pool: bool | None = None
    rater_tags: tuple[str, ...] = ()
    """Those whose texts, or which themselves, people gave one of these tags on a card."""
    is_noted: bool = False
    """Those on a card of which people left a note."""
    archived: bool | None = False
    """Those in use, those archived (True), or both (None)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionFacets:
    """What there is to filter by, each value with its number of questions."""

    total: int
    tags: dict[str, int]
    roles: dict[str, int]
    categories: dict[str, int]
    languages: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuestion:
    """A question to be stored."""

    text: str
    context: str = ""
    role: str = "assistant"
    reference_answer: str | None = None
    answer_check: str | None = None
    category: str | None = None
    language: str | None = None
    source: str = "human"
    tags: tuple[str, ...] = field(default=())


_DETAILS = ("reference_answer", "answer_check", "category", "language")
"""What does not belong to a question's identity, besides its tags."""


def list_questions(
    session: Session, filter: QuestionFilter, page: int = 1, page_size: int = 25
) -> Page[QuestionRow]:
    """Return one page of the questions that fit ``filter``, newest first."""
    # Where search alone narrows the list, no page shows more hits than are counted.
    is_search_alone = filter == QuestionFilter(search=filter.search)
    fitting = _matching(session, filter, COUNT_LIMIT if is_search_alone else None)
    newest = fitting.order_by(Question.created_at.desc(), Question.id.desc())
    found, total, page = page_of_keys(session, newest, page, page_size)
    rows = get_questions(session, [row.id for row in found])
    return Page(rows=tuple(rows), total=total, page=page, page_size=page_size)


def question_ids(session: Session, filter: QuestionFilter) -> list[int]:
    """Return the ids of all questions that fit ``filter``, oldest first."""
    if filter.ids is None:
        return list(session.scalars(_matching(session, filter).order_by(Question.id)))
    parts = (replace(filter, ids=tuple(some)) for some in chunks(filter.ids))
    return sorted(one for part in parts for one in session.scalars(_matching(session, part)))


def get_question(session: Session, question_id: int) -> QuestionRow:
    """Return one question.

    Raises:
        UsageError: There is none with this id.
    """
    missing = f"There is no question q{question_id}; `q2q question list` shows them all."
    return existing(next(iter(get_questions(session, [question_id])), None), missing)


def question_facets(session: Session) -> QuestionFacets:
    """Return the values that questions in use have with their counts, the most frequent first."""
    return QuestionFacets(
        total=session.scalar(select(func.count(Question.id)).where(in_use(Question))) or 0,
        tags=_counted(session, Tag.name),
        roles=_counted(session, Question.role),
        categories=_counted(session, Question.category),
        languages=_counted(session, Question.language),
    )


def role_names(session: Session) -> tuple[str, ...]:
    """Return the roles that a question can have: the built-in ones, then those of the user."""
    own = session.scalars(select(Role.name).distinct().order_by(Role.name))
    return tuple(dict.fromkeys([*ROLES, *own]))


def add_question(session: Session, new: NewQuestion) -> tuple[int, bool]:
    """Store a question and make it findable; one that is there already gains what it lacks.

    Tags come together; a reference answer, category or language that it has stays as it is.

    It is in use and in the pool then, also where it was not.

    Returns:
        Its id, and whether it is new.

    Raises:
        UsageError: The text is empty, or a text cannot be stored.
    """
    question_id, is_new = _add(session, _plain(new))
    take_into_pool(session, [question_id])
    return question_id, is_new


def edit_question(session: Session, question_id: int, new: NewQuestion) -> tuple[int, bool]:
    """Store the edited form of a question as its child; the question itself never changes.

    Whether it is held out is inherited. An edit that changes neither text, context nor role
    changes the details of the question itself (see ``change_details``). One that leads to another
    question of the store gives that question what it lacks (see ``add_question``); it keeps its
    own origin.

    Returns:
        The id of the question that now has this text, and whether it is new.

    Raises:
        UsageError: There is no such question, the text is empty, or a text cannot be stored.
    """
    new = _plain(new)
    parent = _existing(session, question_id)
    if question_hash(new.text, new.context, new.role) == parent.content_hash:
        change_details(session, question_id, new)
        return question_id, False
    return _add(session, new, parent)


def add_child(
    session: Session, parent_id: int, new: NewQuestion, move: str | None
) -> tuple[int, bool]:
    """Store a question that follows from another one; whether it is held out is inherited.

    It stays out of "all questions" until it is taken into the pool. A question that the store has
    already keeps its own origin and place, and gains what it lacks.

    Returns:
        Its id, and whether it is new.

    Raises:
        UsageError: There is no such parent, the text is empty, or a text cannot be stored.
    """
    question_id, is_new = _add(session, _plain(new), _existing(session, parent_id), move)
    if is_new:
        session.get_one(Question, question_id).in_pool = False
    return question_id, is_new


def take_into_pool(session: Session, question_ids: Iterable[int]) -> int:
    """Let "all questions" mean these as well; return how many were out, or archived, until now."""
    wanted = set(question_ids)
    outside: set[int] = set()
    for is_out in (in_use(Question, archived=True), Question.in_pool.is_(False)):
        outside |= wanted.intersection(session.scalars(select(Question.id).where(is_out)))
    for some in chunks(sorted(outside)):
        taken = update(Question).where(Question.id.in_(some))
        session.execute(taken.values(in_pool=True, archived_at=None))
    return len(outside)


def _existing(session: Session, question_id: int) -> Question:
    found = session.get(Question, question_id)
    return existing(found, "There is no question q{question_id}.", question_id=question_id)


def change_details(session: Session, question_id: int, new: NewQuestion) -> None:
    """Set what does not belong to a question's identity: reference, category, language, tags."""
    question = session.get_one(Question, question_id)
    for name in _DETAILS:
        setattr(question, name, getattr(new, name) or None)
    session.flush()
    session.execute(delete(QuestionTag).where(QuestionTag.question_id == question_id))
    tag_questions(session, [question_id], new.tags)


def tag_questions(session: Session, question_ids: Sequence[int], tags: Iterable[str]) -> None:
    """Put ``tags`` on questions; a tag that a question has already stays."""
    names = list(dict.fromkeys(name.strip() for name in tags if name.strip()))
    insert_missing(session, Tag, [{"name": name} for name in names])
    tag_ids = session.scalars(select(Tag.id).where(Tag.name.in_(names))).all()
    pairs = product(question_ids, tag_ids)
    insert_missing(
        session, QuestionTag, [{"question_id": one, "tag_id": tag_id} for one, tag_id in pairs]
    )


def _plain(new: NewQuestion) -> NewQuestion:
    """Return ``new`` with its texts as a file with them would bring them in."""

    def clean(name: str, text: str) -> str:
        problem = problem_of(text)
        if problem:
            raise UsageError("The {name} {problem}", name=name, problem=problem)
        return plain(text)[0]

    return replace(
        new,
        text=clean("question", new.text),
        context=clean("context", new.context),
        reference_answer=clean("reference answer", new.reference_answer or "") or None,
        answer_check=clean("answer check", new.answer_check or "") or None,
        category=clean("category", new.category or "") or None,
        language=clean("language", new.language or "") or None,
        tags=tuple(clean("tag", tag) for tag in new.tags),
    )


def _add(
    session: Session,
    new: NewQuestion,
    parent: Question | None = None,
    move: str | None = "edit",
) -> tuple[int, bool]:
    if not new.text.strip():
        raise UsageError("A question needs a text.")
    content_hash = question_hash(new.text, new.context, new.role)
    same = select(Question).where(Question.content_hash == content_hash)
    known = session.scalar(same, execution_options=WITH_HIDDEN)
    if known is not None and is_hidden(session, "question", known.id):
        raise UsageError(
            "This question is part of an import that is under way; try again when it is done."
        )
    if known is not None:
        for name in _DETAILS:
            setattr(known, name, getattr(known, name) or getattr(new, name) or None)
        session.flush()
        tag_questions(session, [known.id], new.tags)
        return known.id, False
    given = asdict(new) | {name: getattr(new, name) or None for name in _DETAILS}
    del given["tags"]
    question = Question(content_hash=content_hash, **given)
    if parent is not None:
        question.parent_id = parent.id
        question.root_id = parent.root_id or parent.id
        question.move = move
        question.held_out = parent.held_out
    session.add(question)
    session.flush()
    tag_questions(session, [question.id], new.tags)
    index_texts(session, "question", [(question.id, f"{question.text}\n{question.context}")])
    return question.id, True


def _matching(session: Session, filter: QuestionFilter, max_hits: int | None = None) -> Select[int]:
    query = select(Question.id).where(in_use(Question, filter.archived))
    if filter.search.strip():
        found = matching(session, "question", filter.search, max_hits)
        query = query.where(Question.id.in_(found) if found is not None else false())
    if filter.ids is not None:
        query = query.where(Question.id.in_(filter.ids))
    for said in remarked(filter.rater_tags, is_noted=filter.is_noted):
        query = query.where(Question.id.in_(questions_said(session, said)))
    if filter.tags:
        tagged = select(QuestionTag.question_id).join(Tag).where(Tag.name.in_(filter.tags))
        query = query.where(Question.id.in_(tagged))
    for column, values in (
        (Question.role, filter.roles),
        (Question.category, filter.categories),
        (Question.language, filter.languages),
        (Question.source, filter.sources),
    ):
        if values:
            query = query.where(column.in_(values))
    if filter.has_answers is not None:
        answered = select(Answer.id).where(Answer.question_id == Question.id).exists()
        query = query.where(answered if filter.has_answers else ~answered)
    if filter.held_out is not None:
        is_held_out = Question.held_out.is_(True)
        query = query.where(is_held_out if filter.held_out else Question.held_out.is_not(True))
    if filter.in_pool is not None:
        query = query.where(Question.in_pool.is_(filter.in_pool))
    return query


def get_questions(session: Session, ids: Sequence[int]) -> list[QuestionRow]:
    """Return the questions of ``ids`` in their order, in a fixed number of queries."""
    if not ids:
        return []

    def counts(
        column: InstrumentedAttribute[int], *conditions: ColumnElement[bool]
    ) -> dict[int, int]:
        counted = select(column, func.count()).where(column.in_(ids), *conditions)
        return dict(session.execute(counted.group_by(column)).all())

    counted = ("tags", "n_variants", "n_answers")
    own = [name for name in QuestionRow.__slots__ if name not in counted]
    found = {
        row.id: row._asdict() | {"fields": json.loads(row.fields or "{}")}
        for row in session.execute(
            select(*(getattr(Question, name) for name in own)).where(Question.id.in_(ids))
        )
    }
    tags: defaultdict[int, list[str]] = defaultdict(list)
    for question_id, name in session.execute(
        select(QuestionTag.question_id, Tag.name)
        .join(Tag)
        .where(QuestionTag.question_id.in_(ids))
        .order_by(Tag.name)
    ):
        tags[question_id].append(name)
    variants = counts(ReasoningVariant.question_id, ReasoningVariant.source != "control")
    answers = counts(Answer.question_id)
    return [
        QuestionRow(
            **found[question_id],
            tags=tuple(tags[question_id]),
            n_variants=variants.get(question_id, 0),
            n_answers=answers.get(question_id, 0),
        )
        for question_id in ids
        if question_id in found
    ]


def _counted(session: Session, column: InstrumentedAttribute[Any]) -> dict[str, int]:
    """Return the values of ``column`` with their counts; rows of a tag are its questions.

    All questions are counted in an index without their rows, and the archived ones taken off.
    """
    is_tag = column.class_ is Tag
    counted = select(column, func.count()).where(column.is_not(None)).group_by(column)
    everything = counted.join(QuestionTag) if is_tag else counted
    counts: Counter[str] = Counter(dict(session.execute(everything).all()))
    if has_archived(session, "question"):
        # Read first: SQLite would go through the index of the column, and look at each row.
        named = Question.id if is_tag else column
        archived = select(named.label("own")).where(in_use(Question, archived=True))
        own = archived.cte("gone").prefix_with("MATERIALIZED").c.own
        gone = select(own, func.count()).where(own.is_not(None)).group_by(own)
        if is_tag:
            gone = everything.where(QuestionTag.question_id.in_(select(own)))
        counts.subtract(dict(session.execute(gone).all()))
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return {value: n for value, n in ordered if n > 0}
