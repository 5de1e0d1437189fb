"""What people's ratings say of a text: each judgement that holds, and on the whole one score.

A score puts all ways of rating on one scale from 0 to 1: a value from 1 to 5 by its place between
them, OK as 1 and not OK as 0, a comparison as 1 where it was won, 0.5 where it was a tie, else 0.
Models that rate are left out of it: people and models are never mixed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    and_,
    case,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.bulk import listed_ids
from db.counts import cached_count, is_counted
from db.identity import Ref
from db.rating.ratings import FLAG, HIGHEST, LOWEST, OK, TAG, active_ratings, on_scale, overruled
from db.tables import Answer, Rater, Rating
from db.tables.base import as_row
from db.texts.rows import ListedKind

Liking = Literal["rated", "liked", "mixed", "disliked", "unrated"]
LIKED, DISLIKED = 2 / 3, 1 / 3
"""Scores from which a text is liked, and up to which it is disliked."""
_Ids = Sequence[int] | Select[int]
_Key = ColumnElement[Any] | InstrumentedAttribute[Any]
_WON = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.0}
"""Points of the first target of a comparison."""
_WON_BY_OTHER = _WON | {"a": 0.0, "b": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingSummary:
    """What people said of one text, or of several together."""

    score: float
    """0 to 1."""
    mean: float | None
    """Of the values from 1 to 5, over all axes; None where nobody gave one."""
    n_values: int
    n_ok: int
    n_not_ok: int
    won: int
    tied: int
    """Ties, also those of two bad texts."""
    lost: int

    @property
    def liking(self) -> Liking:
        """The same, in a word."""
        return _liking(self.score)


def liked_as(
    session: Session, kind: ListedKind, text_id: ColumnElement[int], liking: Liking
) -> ColumnElement[bool]:
    """Return the condition that people's ratings of a text come to ``liking``.

    The texts are found once for all statements until somebody rates again; with very many ratings
    they may be some seconds old.
    """
    found = _known_liking(session, kind)
    ids = listed_ids(session, found[liking])
    return text_id.not_in(ids) if liking == "unrated" else text_id.in_(ids)


def likings_counted(session: Session, kinds: Sequence[ListedKind]) -> bool:
    """Tell whether `liked_as` answers at once: many ratings are first counted in the background."""

    def count(session: Session) -> None:
        for kind in kinds:
            _known_liking(session, kind)

    return is_counted(session, ("likings", tuple(kinds)), count)


def _known_liking(session: Session, kind: ListedKind) -> dict[Liking, str]:
    newest = session.scalar(select(func.max(Rating.id)))
    return cached_count(
        session, ("liking", kind), newest, lambda: _by_liking(session, kind), is_moving=True
    )


def _by_liking(session: Session, kind: ListedKind) -> dict[Liking, str]:
    """Return the ids of the texts of each liking as JSON; of ``unrated``, those that are rated."""
    judged = _judgements(kind)
    scores = session.execute(
        select(judged.c.text_id, func.avg(judged.c.point)).group_by(judged.c.text_id)
    ).all()
    rated: list[int] = []
    ids: dict[Liking, list[int]] = {"liked": [], "mixed": [], "disliked": []}
    ids |= {"rated": rated, "unrated": rated}
    for text_id, score in scores:
        rated.append(text_id)
        ids[_liking(score)].append(text_id)
    return {liking: json.dumps(own) for liking, own in ids.items()}


def _liking(score: float) -> Liking:
    if score >= LIKED:
        return "liked"
    return "disliked" if score <= DISLIKED else "mixed"


def rating_summaries(
    session: Session, kind: ListedKind, ids: Sequence[int]
) -> dict[int, RatingSummary]:
    """Return what people said of each of these texts; texts without ratings are left out."""
    judged = _judgements(kind, ids)
    return _summed(session, judged.c.text_id, _sums(judged, judged.c.text_id))


def answer_summaries(session: Session, variant_ids: Sequence[int]) -> dict[int, RatingSummary]:
    """Return what people said of the answers under each of these reasonings together."""
    under = Answer.variant_id
    judged = _judgements("answer", select(Answer.id).where(under.in_(variant_ids)))
    return _summed(session, under, _sums(judged, under).join(Answer, Answer.id == judged.c.text_id))


def text_scores(kind: ListedKind, ids: _Ids | None = None) -> Subquery:
    """Return the subquery of the score (0 to 1) of each of these texts (all) that people rated."""
    judged = _judgements(kind, ids)
    score = func.avg(judged.c.point).label("score")
    return select(judged.c.text_id, score).group_by(judged.c.text_id).subquery()


def scores_of(session: Session, kind: ListedKind, ids: _Ids) -> dict[int | None, float]:
    """Return the score (0 to 1) of each of these texts that people rated."""
    scores = text_scores(kind, ids)
    return {row.text_id: row.score for row in session.execute(select(scores))}


def _summed(
    session: Session, key: _Key, query: Select[*tuple[Any, ...]]
) -> dict[int, RatingSummary]:
    found = session.execute(query.group_by(key))
    return {row.key: RatingSummary(**_counts(row._asdict())) for row in found}


def _counts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "key"}


def _sums(judged: Subquery, key: _Key) -> Select[*tuple[Any, ...]]:
    def times(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    return select(
        key.label("key"),
        func.avg(judged.c.point).label("score"),
        func.avg(judged.c.value).label("mean"),
        func.count(judged.c.value).label("n_values"),
        times(judged.c.ok == 1).label("n_ok"),
        times(judged.c.ok == 0).label("n_not_ok"),
        times(judged.c.result == "won").label("won"),
        times(judged.c.result == "tied").label("tied"),
        times(judged.c.result == "lost").label("lost"),
    ).select_from(judged)


def _judgements(kind: ListedKind, ids: _Ids | None = None) -> Subquery:
    """Return each judgement of a text once for each side that it speaks of, seen from there.

    Args:
        kind: What was judged.
        ids: Only judgements of these texts.
    """
    if kind == "variant":
        sides = [
            _side(Rating.variant_id, _WON, ids).where((Rating.answer_id + 0).is_(None)),
            _side(Rating.other_variant_id, _WON_BY_OTHER, ids).where(
                (Rating.other_answer_id + 0).is_(None)
            ),
        ]
    else:
        sides = [
            _side(Rating.answer_id, _WON, ids),
            _side(Rating.other_answer_id, _WON_BY_OTHER, ids),
        ]
    # Values and OK speak of the target alone, never of the other side.
    sides[1] = sides[1].where(Rating.outcome.is_not(None))
    return union_all(*sides).subquery()


def _side(
    target: InstrumentedAttribute[int | None], points: dict[str, float], ids: _Ids | None
) -> Select[*tuple[Any, ...]]:
    value = case((Rating.axis != OK, Rating.value))
    ok = case((Rating.axis == OK, Rating.value))
    won = case(points, value=Rating.outcome)
    result = case(
        (Rating.outcome.in_(("tie", "both_bad")), "tied"),
        (won == 1.0, "won"),
        (won == 0.0, "lost"),
    )
    placed = (value - LOWEST) / float(HIGHEST - LOWEST)
    undone = select(Rating.undoes_id).where(Rating.undoes_id.is_not(None))
    people = select(Rater.id).where(Rater.kind == "person")
    # Sums without a column of their own index: they are taken over many ratings at once.
    query = select(
        target.label("text_id"),
        value.label("value"),
        ok.label("ok"),
        result.label("result"),
        func.coalesce(won, ok, placed).label("point"),
    ).where(
        (Rating.rater_id + 0).in_(people),
        (Rating.undoes_id + 0).is_(None),
        Rating.id.not_in(undone),
        target.is_not(None),
        Rating.axis.not_in((TAG, FLAG)),
        Rating.value.is_not(None) | Rating.outcome.is_not(None),
        on_scale(),
        ~overruled(),
    )
    return query if ids is None else query.where(target.in_(ids))


Result = Literal["won", "lost", "tie", "both_bad"]
_SEEN: dict[bool, dict[str, Result]] = {
    False: {"a": "won", "b": "lost", "tie": "tie", "both_bad": "both_bad"},
    True: {"a": "lost", "b": "won", "tie": "tie", "both_bad": "both_bad"},
}
"""How a comparison went; True: for the other one of the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementRow:
    """One judgement, seen from the text that it is listed for."""

    id: int
    rater: str
    rater_kind: str
    """``person`` or ``model``."""
    scope: str
    axis: str
    value: float | None
    label: str | None
    """The tag or flag given."""
    result: Result | None
    """How the comparison went for this text; None for a rating of it alone."""
    other: Ref | None
    """What it was compared with."""
    blind: bool
    is_adjudication: bool
    """It settles what raters disagreed about."""
    is_overruled: bool
    """It was settled otherwise, and counts for agreement only."""
    note: str | None
    created_at: datetime


def judgements(
    session: Session, ref: Ref, limit: int, *, compared: bool
) -> tuple[tuple[JudgementRow, ...], int]:
    """Return the newest judgements of a question, reasoning or answer, and how many there are.

    Args:
        session: Of the store.
        ref: What was judged.
        limit: Rows returned.
        compared: Comparisons with another one, instead of ratings of it alone.
    """
    own, other = _sides(ref)
    if compared:
        found = active_ratings().where(or_(own, other), Rating.outcome.is_not(None))
    else:
        found = active_ratings().where(own, Rating.outcome.is_(None))
    total = session.scalar(select(func.count()).select_from(found.subquery())) or 0
    rows = session.execute(
        found.join(Rater, Rater.id == Rating.rater_id)
        .add_columns(Rater.name, Rater.kind, overruled())
        .order_by(Rating.id.desc())
        .limit(limit)
    ).all()
    return tuple(_row(ref, *row) for row in rows), total


def _sides(ref: Ref) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of being rated, and of being the other one of two."""
    if ref.kind == "question":
        is_asked = Rating.scope == "question"
        return (
            and_(is_asked, Rating.question_id == ref.id),
            and_(is_asked, Rating.other_question_id == ref.id),
        )
    if ref.kind == "variant":
        return (
            and_(Rating.variant_id == ref.id, Rating.answer_id.is_(None)),
            and_(Rating.other_variant_id == ref.id, Rating.other_answer_id.is_(None)),
        )
    return Rating.answer_id == ref.id, Rating.other_answer_id == ref.id


def _row(ref: Ref, rating: Rating, rater: str, rater_kind: str, is_overruled: bool) -> JudgementRow:
    targets = {
        "question": (rating.question_id, rating.other_question_id),
        "variant": (rating.variant_id, rating.other_variant_id),
        "answer": (rating.answer_id, rating.other_answer_id),
    }
    first, second = targets[ref.kind]
    is_other = first != ref.id
    result = other = None
    if rating.outcome is not None:
        result = _SEEN[is_other][rating.outcome]
        other_id = first if is_other else second
        other = Ref(ref.kind, other_id) if other_id is not None else None
    computed = {
        "rater": rater,
        "rater_kind": rater_kind,
        "result": result,
        "other": other,
        "is_overruled": bool(is_overruled),
    }
    return as_row(JudgementRow, rating, **computed)
