"""Ratings by meaning: raters, facts that are only ever added, and what of them still holds."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from db.bulk import chunks, insert_missing
from db.errors import UsageError, existing
from db.identity import json_hash, number_in
from db.models import model_by_name
from db.store.archive import in_use
from db.tables import ModelVersion, QueueItem, Rater, Rating, RatingAxis, utc_now

Scope = Literal["reasoning", "answer", "whole", "question"]
Outcome = Literal["a", "b", "tie", "both_bad"]
PREFERENCE = "preference"
"""Axis of a comparison of two."""
OK = "ok"
"""Axis of OK (1) or not OK (0)."""
TAG = "tag"
FLAG = "flag"
RESERVED = (PREFERENCE, OK, TAG, FLAG)
"""Axes that are no scales."""
LOWEST, HIGHEST = 1, 5
"""Values of every scale, whole numbers."""
REPEAT = "repeat"
"""Sampler of hidden repeats: they tell how far raters agree with themselves, and which side draws
them. What was said the first time is what ranks and trains."""
MAX_RATER_NAME = 60
JUDGED_BEFORE_ANSWERS: frozenset[Scope] = frozenset({"reasoning"})
"""Scopes of which only judgements count that were given before an answer was seen. One rule for
rankings and training: what does not rank does not train."""


_UNKNOWN = "Judged imported training data; its weights are not known here."


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is rated: a question, a reasoning, or an answer under the reasoning beside it."""

    question_id: int
    variant_id: int | None = None
    answer_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRating:
    """One judgement: of one target on an axis, or of two against each other."""

    rater_id: int
    scope: Scope
    target: Target
    other: Target | None = None
    axis: str
    axis_id: int | None = None
    """How the axis is worded, where it is a scale."""
    value: float | None = None
    outcome: Outcome | None = None
    """``a``: the target is better; ``b``: the other one; whatever stood on the left."""
    label: str | None = None
    """The tag or flag given."""
    blind: bool
    swapped: bool | None = None
    """The other target stood on the left."""
    answer_seen: bool = False
    sampler: str | None = None
    seconds: float | None = None
    """From when the card was assigned to the press."""
    queue_item_id: int | None = None
    card_id: str
    """Unique in the store: a second press on the same card adds nothing."""
    is_adjudication: bool = False
    """It settles what raters disagree about."""
    note: str | None = None
    created_at: datetime | None = None
    """None: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterRow:
    """One rater."""

    id: int
    name: str
    kind: str


def stored_name(name: str) -> str:
    """Return ``name`` as raters are called in the store: of one width, accents composed."""
    return unicodedata.normalize("NFKC", name).strip()


def rater_name(name: str) -> str:
    """Return ``name`` as ``stored_name`` does.

    Raises:
        UsageError: The name is empty, too long or not one line.
    """
    name = stored_name(name)
    if not name or len(name) > MAX_RATER_NAME or not name.isprintable():
        raise UsageError(
            "A rater's name is one line of 1 to {most} characters.", most=MAX_RATER_NAME
        )
    return name


def ensure_rater(session: Session, name: str) -> int:
    """Return the id of the person called ``name``, known or new; who was archived is back then.

    Raises:
        UsageError: The name is empty, too long or not one line, or it is a model's.
    """
    name = rater_name(name)
    known = session.scalar(select(Rater).where(Rater.name == name))
    if known is None:
        known = Rater(name=name)
        session.add(known)
        session.flush()
    elif known.kind != "person":
        raise UsageError("{name!r} is the name of a model; choose another one.", name=name)
    known.archived_at = None
    return known.id


def ensure_model_rater(session: Session, name: str, model: str | None = None) -> int:
    """Return the id of the rater that is the model called ``name``, known or new.

    A model that the store does not know is declared, out of the lists of those that can be served.

    Args:
        session: Of the store.
        name: Of the rater.
        model: Of the model, where it is called differently.

    Raises:
        UsageError: The name is a person's, empty or too long.
    """
    name = rater_name(name)
    known = session.scalar(select(Rater).where(Rater.name == name))
    if known is not None and known.kind != "model":
        raise UsageError(
            "{name!r} is the name of a person who rates; give the model another one with --rater.",
            name=name,
        )
    if known is not None:
        known.archived_at = None
        return known.id
    known_model = model_by_name(session, model or name)
    model_id = known_model.id if known_model is not None else None
    if model_id is None:
        declared = ModelVersion(name=model or name, kind="declared", state="removed", note=_UNKNOWN)
        session.add(declared)
        session.flush()
        model_id = declared.id
    rater = Rater(name=name, kind="model", model_version_id=model_id)
    session.add(rater)
    session.flush()
    return rater.id


def find_rater(session: Session, name: str) -> RaterRow:
    """Return the rater called ``name``, or with this number.

    Raises:
        UsageError: There is none.
    """
    raters = list_raters(session, archived=None)
    named = next((one for one in raters if one.name == name), None)
    number = number_in(name)
    found = named or next((one for one in raters if one.id == number), None)
    return existing(found, "There is no rater {name!r}; `q2q rater list` shows all.", name=name)


def list_raters(session: Session, *, archived: bool | None = False) -> list[RaterRow]:
    """Return the raters in use, those archived, or all of them (None), by name."""
    listed = select(Rater.id, Rater.name, Rater.kind).where(in_use(Rater, archived))
    rows = session.execute(listed.order_by(Rater.name))
    return [RaterRow(id=row.id, name=row.name, kind=row.kind) for row in rows]


def why_wrong(
    axis: str, *, value: float | None, outcome: str | None, label: str | None
) -> tuple[str, str] | None:
    """Return which of the three does not fit the axis, and why with a remedy; None: all fit."""
    given = {"value": value, "outcome": outcome, "label": label}
    wanted = {PREFERENCE: "outcome", TAG: "label", FLAG: "label"}.get(axis, "value")
    if given[wanted] is None:
        return wanted, f"is empty; the axis {axis!r} needs it."
    extra = next((name for name in given if name != wanted and given[name] is not None), None)
    if extra is not None:
        return extra, f"does not go with the axis {axis!r}; leave it empty."
    scale = (0, 1) if axis == OK else range(LOWEST, HIGHEST + 1)
    if value is not None and value not in scale:
        remedy = "1 (OK) or 0 (not OK)" if axis == OK else f"a whole number {LOWEST} to {HIGHEST}"
        return "value", f"is {value:g}; write {remedy}."
    return None


def add_ratings(session: Session, ratings: Iterable[NewRating]) -> list[int]:
    """Store judgements whose cards have none yet; return the ids of those that are new.

    Raises:
        UsageError: What one of them says does not fit its axis. Nothing is stored.
    """
    ratings = list(ratings)
    for one in ratings:
        wrong = why_wrong(one.axis, value=one.value, outcome=one.outcome, label=one.label)
        if wrong is not None:
            raise UsageError("A rating's {field} {problem}", field=wrong[0], problem=wrong[1])
    known: set[str] = set()
    for cards in chunks([rating.card_id for rating in ratings]):
        known.update(session.scalars(select(Rating.card_id).where(Rating.card_id.in_(cards))))
    new = {rating.card_id: rating for rating in ratings if rating.card_id not in known}
    if not new:
        return []
    rows = [_row(rating) for rating in new.values()]
    return list(session.scalars(insert(Rating).returning(Rating.id), rows))


def undo_ratings(session: Session, rating_ids: Sequence[int]) -> None:
    """Take judgements back by adding the fact that each is undone; what was said stays.

    Raises:
        UsageError: One of them does not exist, or is undone already.
    """
    rows = session.execute(select(Rating).where(Rating.id.in_(rating_ids))).scalars().all()
    undone = set(session.scalars(select(Rating.undoes_id).where(Rating.undoes_id.in_(rating_ids))))
    if len(rows) < len(set(rating_ids)) or undone:
        raise UsageError("These ratings are not there, or they are undone already.")
    same = ("rater_id", "scope", *_TARGET, "axis", "blind", "queue_item_id")
    for row in rows:
        values = {name: getattr(row, name) for name in same}
        session.add(Rating(**values, card_id=f"{row.card_id}/undo", undoes_id=row.id))
    session.flush()


def active_ratings() -> Select[Rating]:
    """Return the select of all judgements that hold: neither undone nor an undoing.

    Values that are off their scale, which earlier versions imported, are left out.
    """
    return _not_undone().where(on_scale())


def count_off_scale(session: Session, *wanted: ColumnElement[bool]) -> int:
    """Return how many judgements that meet ``wanted`` no rule or figure counts, for their value."""
    query = _not_undone().where(~on_scale(), *wanted).with_only_columns(func.count(Rating.id))
    return session.scalar(query) or 0


def on_scale() -> ColumnElement[bool]:
    """Return the condition that a judgement's value, where it has one, is one of its axis."""
    fits = case(
        (Rating.axis == OK, Rating.value.in_((0, 1))),
        else_=Rating.value.between(LOWEST, HIGHEST),
    )
    return or_(Rating.value.is_(None), Rating.outcome.is_not(None), fits)


def _not_undone() -> Select[Rating]:
    undoing = aliased(Rating)
    return (
        select(Rating)
        .outerjoin(undoing, undoing.undoes_id == Rating.id)
        # No index: without statistics SQLite would begin with all ratings that undo nothing.
        .where((Rating.undoes_id + 0).is_(None), undoing.id.is_(None))
    )


def item_ratings(session: Session, rater_id: int, item_id: int) -> list[int]:
    """Return the ids of what ``rater_id`` said about a queue's item, as far as it holds."""
    query = active_ratings().where(
        Rating.rater_id == rater_id,
        Rating.queue_item_id == item_id,
        Rating.is_adjudication.is_(False),
    )
    return list(session.scalars(query.with_only_columns(Rating.id).order_by(Rating.id)))


_TARGET = ("question_id", "variant_id", "answer_id")
_OWN = [name for name in NewRating.__slots__ if name not in ("target", "other", "created_at")]


def _row(rating: NewRating) -> dict[str, Any]:
    return {
        **{name: getattr(rating, name) for name in _OWN},
        **{name: getattr(rating.target, name) for name in _TARGET},
        **{f"other_{name}": getattr(rating.other, name, None) for name in _TARGET},
        "created_at": rating.created_at or utc_now(),
    }


def overruled() -> ColumnElement[bool]:
    """Return the condition that a person settled otherwise what a person's rating says.

    A verdict counts, in rankings and training sets, instead of all ratings by people of the same
    text (or the same two) on the same axis, given before or after it, in whichever queue. Figures
    of agreement keep the ratings and leave the verdicts out.
    """
    verdict, undoing, other = aliased(Rating), aliased(Rating), aliased(Rating)
    people = select(Rater.id).where(Rater.kind == "person")
    texts = ("variant_id", "answer_id")

    def same(prefix: str, crossed: str) -> ColumnElement[bool]:
        pairs = [(name, f"{prefix}{name}") for name in texts]
        pairs += [(f"other_{name}", f"{crossed}{name}") for name in texts]
        return and_(
            *(getattr(other, a).is_not_distinct_from(getattr(verdict, b)) for a, b in pairs)
        )

    return Rating.id.in_(
        select(other.id)
        .select_from(verdict)
        .join(
            other,
            and_(
                other.question_id == verdict.question_id,
                # By the index of questions alone: else SQLite indexes all ratings anew.
                func.coalesce(other.scope, "") == verdict.scope,
                func.coalesce(other.axis, "") == verdict.axis,
                or_(same("", "other_"), same("other_", "")),
            ),
        )
        .outerjoin(undoing, undoing.undoes_id == verdict.id)
        .where(
            verdict.is_adjudication,
            undoing.id.is_(None),
            func.coalesce(other.is_adjudication, False).is_(False),
            # The plus keeps SQLite from starting at all ratings by people: verdicts are few.
            (other.rater_id + 0).in_(people),
        )
    )


def seen_too_early() -> ColumnElement[bool]:
    """Return the condition for judgements that neither rank nor train: the answer was seen."""
    return and_(Rating.scope.in_(JUDGED_BEFORE_ANSWERS), Rating.answer_seen.is_(True))


def ensure_axis(session: Session, scope: str, name: str, definition: Mapping[str, Any]) -> int:
    """Return the id of an axis with this wording, known or new."""
    own = {"scope": scope, "name": name, "definition_hash": json_hash(definition)}
    insert_missing(
        session, RatingAxis, [{**own, "definition": dict(definition), "created_at": utc_now()}]
    )
    return session.scalars(select(RatingAxis.id).filter_by(**own)).one()


def of_repeat() -> ColumnElement[bool]:
    """Return the condition for judgements of hidden repeats; of other stores, too, by sampler."""
    repeats = exists().where(
        QueueItem.id == Rating.queue_item_id, QueueItem.repeat_of_id.is_not(None)
    )
    return or_(Rating.sampler.is_not_distinct_from(REPEAT), repeats)
