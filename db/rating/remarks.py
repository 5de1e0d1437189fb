"""Tags and notes that people left on cards while they rated, by the texts that they speak of.

What is said of a pair speaks of both texts. What was undone is left out, and what models say, too.
"""

import json
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal_column, select, true, union
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.bulk import listed_ids
from db.counts import cached_count
from db.tables import Answer, Rater, Rating
from db.texts.rows import ListedKind

_Key = InstrumentedAttribute[Any]
_Wanted = ColumnElement[bool]
_Ids = Sequence[int] | Select[Any]
_IS_TAG = Rating.axis == literal_column("'tag'")
"""Written out as where the index of tags is defined: SQLite takes it for no other condition."""
_IS_NOTED = Rating.note.is_not(None)
_SIDES: dict[ListedKind, tuple[tuple[_Key, _Wanted], ...]] = {
    "variant": (
        (Rating.variant_id, (Rating.answer_id + 0).is_(None)),
        (Rating.other_variant_id, (Rating.other_answer_id + 0).is_(None)),
    ),
    "answer": ((Rating.answer_id, true()), (Rating.other_answer_id, true())),
}
"""What a judgement speaks of, and when: of a reasoning only where it names no answer to it.

Sums, so that what is wanted is looked up by its own index.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """What people left on one text, or on several together."""

    tags: tuple[str, ...]
    notes: tuple[str, ...]


NO_REMARKS = Remarks(tags=(), notes=())


@dataclass(frozen=True, slots=True)
class Remarked:
    """What is asked for: one of these tags, or without any a note."""

    tags: tuple[str, ...] = ()

    @property
    def condition(self) -> ColumnElement[bool]:
        """What a judgement must meet."""
        return and_(_IS_TAG, Rating.label.in_(self.tags)) if self.tags else _IS_NOTED


def remarked(tags: Sequence[str], *, is_noted: bool) -> list[Remarked]:
    """Return all that is asked for: one of the tags, if there are any, and a note."""
    wanted = [Remarked(tuple(tags))] if tags else []
    return [*wanted, Remarked()] if is_noted else wanted


def texts_said(session: Session, kind: ListedKind, wanted: Remarked) -> Select[Any]:
    """Return the select of the ids of texts of which people said what is wanted."""
    return _known(session, kind, wanted, [(own, when) for own, when in _SIDES[kind]])


def questions_said(session: Session, wanted: Remarked, *, by_itself: bool = False) -> Select[Any]:
    """Return the same of questions: of their texts, or only of the questions themselves."""
    when = Rating.scope == "question" if by_itself else true()
    sides = [(one, when) for one in (Rating.question_id, Rating.other_question_id)]
    return _known(session, ("question", by_itself), wanted, sides)


def cards_said(session: Session, tags: Sequence[str], *, is_noted: bool) -> set[str]:
    """Return the cards on which people gave one of these tags and, if asked for, left a note."""
    found = [
        {card_id.partition("/")[0] for card_id in session.scalars(said(Rating.card_id, one))}
        for one in (wanted.condition for wanted in remarked(tags, is_noted=is_noted))
    ]
    return set.intersection(*found) if found else set()


def known_tags(session: Session) -> dict[str, int]:
    """Return the tags that people gave, the most frequent first, each with how often."""

    def count() -> dict[str, int]:
        counted = said(Rating.label, _IS_TAG).add_columns(func.count()).group_by(Rating.label)
        return dict(session.execute(counted.order_by(func.count().desc(), Rating.label)).all())

    newest = session.scalar(select(func.max(Rating.id)))
    return cached_count(session, "rater_tags", newest, count, is_moving=True)


def has_notes(session: Session) -> bool:
    """Tell whether people left any note."""
    return session.scalar(said(Rating.id, _IS_NOTED).limit(1)) is not None


def read_remarks(
    session: Session, kind: ListedKind, ids: _Ids, *, under: bool = False
) -> dict[int, Remarks]:
    """Return what people left on texts; those on which nobody left anything are absent.

    Args:
        session: Of the store.
        kind: Of the texts.
        ids: Of the texts.
        under: With what they left on the answers under these reasonings.
    """
    queries = [said(own, own.in_(ids), when) for own, when in _SIDES[kind]]
    if under and kind == "variant":
        for own, _ in _SIDES["answer"]:
            of_answer = said(Answer.variant_id, Answer.variant_id.in_(ids))
            queries.append(of_answer.join(Answer, Answer.id == own))
    tags: defaultdict[int, dict[str, None]] = defaultdict(dict)
    notes: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for query in queries:
        found = query.where(_IS_TAG | _IS_NOTED).order_by(Rating.id)
        tag = case((_IS_TAG, Rating.label))
        for text_id, own_tag, note in session.execute(found.add_columns(tag, Rating.note)):
            if own_tag is not None:
                tags[text_id][own_tag] = None
            if note is not None:  # every judgement of a card holds it
                notes[text_id][note] = None
    return {
        text_id: Remarks(tags=tuple(tags[text_id]), notes=tuple(notes[text_id]))
        for text_id in sorted({*tags, *notes})
    }


def said(
    of: InstrumentedAttribute[Any], wanted: _Wanted, when: _Wanted | None = None
) -> Select[Any]:
    """Return the select of a column of what people said and did not undo."""
    undone = select(Rating.undoes_id).where(Rating.undoes_id.is_not(None))
    people = select(Rater.id).where(Rater.kind == "person")
    holds = ((Rating.rater_id + 0).in_(people), (Rating.undoes_id + 0).is_(None))
    query = select(of).select_from(Rating).where(wanted, *holds, Rating.id.not_in(undone))
    return query if when is None else query.where(when)


def _known(
    session: Session, name: Hashable, wanted: Remarked, sides: Sequence[tuple[_Key, _Wanted]]
) -> Select[Any]:
    """Return what is found at either side, once for all statements until somebody rates again."""

    def find() -> str:
        found = union(*(said(own, wanted.condition, when) for own, when in sides))
        return json.dumps([one for one in session.scalars(found) if one is not None])

    newest = session.scalar(select(func.max(Rating.id)))
    found = cached_count(session, ("remarked", name, wanted), newest, find, is_moving=True)
    return listed_ids(session, found)
