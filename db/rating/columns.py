"""Ratings in bulk for statistics: columns of what holds, and where the judged texts come from.

Columns have equal lengths and stand under their names, ready for a data frame. Hidden repeats are
in them, marked, since agreement and bias need them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, String, case, cast, func, null, select, union
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db.bulk import chunks
from db.rating.ratings import Scope, active_ratings, overruled
from db.tables import (
    Answer,
    Generation,
    ModelVersion,
    PromptFormat,
    QueueItem,
    Rater,
    Rating,
    RatingQueue,
    ReasoningVariant,
    Role,
    Sampling,
    SweepGeneration,
)
from db.texts.rows import TABLES, ListedKind

RaterKind = Literal["person", "model"]
Columns = dict[str, list[Any]]
_Reasoned, _Reasoner = aliased(Generation), aliased(ModelVersion)
_Stored = aliased(ModelVersion)


_POSSIBLE_SECONDS = case((Rating.seconds >= 0, Rating.seconds)).label("seconds")
"""A clock that was set back once left negative ones, which say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingFilter:
    """Which ratings; those of people and of models are never read together."""

    scope: Scope = "reasoning"
    raters: RaterKind = "person"
    queue_id: int | None = None
    sweep_id: int | None = None
    """Only of texts that this sweep wrote or found written."""
    question_id: int | None = None
    equal_length: bool = False
    """Tell figures of comparisons as if texts that meet were equally long."""


def high_water(session: Session) -> str:
    """Return a mark that changes with every rating, undo and queue."""
    rating = session.scalar(select(func.max(Rating.id))) or 0
    queue = session.scalar(select(func.max(RatingQueue.id))) or 0
    return f"{rating}/{queue}"


def read_ratings(session: Session, filter: RatingFilter) -> Columns:
    """Return what holds, oldest first: who judged which text (or two), how, and how it was shown.

    ``text_id`` and ``other_id`` are reasonings where the scope is ``reasoning``, else answers;
    ``variant_id`` is the reasoning that an answer stands under; ``repeat_of_id`` is the item that a
    hidden repeat repeats. What a person settled otherwise is marked ``is_overruled``.
    """
    text, other = _sides(filter.scope)
    columns = (
        Rating.rater_id,
        Rating.question_id,
        Rating.variant_id,
        text.label("text_id"),
        other.label("other_id"),
        Rating.axis,
        Rating.value,
        Rating.outcome,
        Rating.blind,
        Rating.swapped,
        Rating.answer_seen,
        Rating.sampler,
        _POSSIBLE_SECONDS,
        Rating.queue_item_id.label("item_id"),
        QueueItem.repeat_of_id,
        Rating.is_adjudication,
        overruled().label("is_overruled"),
    )
    query = _judged(filter).with_only_columns(*columns).order_by(Rating.id)
    return _columns([column.key for column in columns], session.execute(query).all())


def read_origins(session: Session, filter: RatingFilter) -> Columns:
    """Return where each judged text comes from, and how long it is.

    What a person wrote or imported has no format, role, model, mode and sampling: None. Answers
    have besides who wrote their reasoning (a model, or the kind of source) and its sampling.
    """
    judged = _judged(filter)
    wanted = union(*(judged.with_only_columns(side) for side in _sides(filter.scope)))
    return _origins(session, filter.scope, select(wanted.subquery()))


def origins_of(session: Session, scope: Scope, text_ids: Sequence[int]) -> Columns:
    """Return the same of these reasonings, or answers."""
    parts = [_origins(session, scope, some) for some in chunks(list(text_ids))]
    names = _origins(session, scope, []) if not parts else parts[0]
    return {name: [value for part in parts for value in part[name]] for name in names}


def _origins(session: Session, scope: Scope, wanted: Sequence[int] | Select[Any]) -> Columns:
    table = TABLES[text_kind(scope)]
    columns: tuple[Any, ...] = (
        table.id.label("text_id"),
        table.source,
        func.length(table.text).label("n_characters"),
        Generation.mode,
        (PromptFormat.name + "@" + cast(PromptFormat.version, String)).label("format"),
        Role.name.label("role"),
        ModelVersion.name.label("model"),
        func.coalesce(_Stored.name, ModelVersion.name).label("weights"),
        ModelVersion.precision,
        Generation.sampling_id,
        *_reasoning_columns(scope),
    )
    query = (
        select(*columns)
        .select_from(table)
        .where(table.id.in_(wanted))
        .outerjoin(Generation, Generation.id == table.generation_id)
        .outerjoin(PromptFormat, PromptFormat.id == Generation.prompt_format_id)
        .outerjoin(Role, Role.id == Generation.role_id)
        .outerjoin(ModelVersion, ModelVersion.id == Generation.model_version_id)
        .outerjoin(_Stored, _Stored.id == ModelVersion.stored_id)
    )
    if scope != "reasoning":
        query = (
            query.outerjoin(ReasoningVariant, ReasoningVariant.id == Answer.variant_id)
            .outerjoin(_Reasoned, _Reasoned.id == ReasoningVariant.generation_id)
            .outerjoin(_Reasoner, _Reasoner.id == _Reasoned.model_version_id)
        )
    return _columns([column.key for column in columns], session.execute(query).all())


def _reasoning_columns(scope: Scope) -> tuple[ColumnElement[Any], ...]:
    """Return who wrote the reasoning of an answer, and how; nothing of a reasoning itself."""
    if scope == "reasoning":
        return null().label("reasoning_model"), null().label("reasoning_sampling_id")
    return (
        func.coalesce(_Reasoner.name, ReasoningVariant.source).label("reasoning_model"),
        _Reasoned.sampling_id.label("reasoning_sampling_id"),
    )


def text_kind(scope: Scope) -> ListedKind:
    """Return the kind of the texts that judgements of ``scope`` are of."""
    return "variant" if scope == "reasoning" else "answer"


def read_samplings(session: Session) -> dict[int, dict[str, Any]]:
    """Return every set of sampling parameters by its id."""
    rows = session.execute(select(Sampling.id, Sampling.parameters))
    return {row.id: row.parameters for row in rows}


def read_days(session: Session, filter: RatingFilter) -> Columns:
    """Return how many cards each rater rated on each day (UTC), hidden repeats included."""
    day = func.date(Rating.created_at)
    cards = func.count(func.coalesce(Rating.queue_item_id, -Rating.id).distinct())
    query = (
        _judged(filter)
        .with_only_columns(day, Rating.rater_id, cards)
        .group_by(day, Rating.rater_id)
        .order_by(day)
    )
    rows = [(str(on), rater_id, n) for on, rater_id, n in session.execute(query)]
    return _columns(["day", "rater_id", "cards"], rows)


def _judged(filter: RatingFilter) -> Select[Any]:
    """Return the select of the ratings of ``filter`` that hold; columns are to come."""
    raters = select(Rater.id).where(Rater.kind == filter.raters)
    query: Select[Any] = (
        active_ratings()
        .outerjoin(QueueItem, QueueItem.id == Rating.queue_item_id)
        .where(Rating.scope == filter.scope, Rating.rater_id.in_(raters))
    )
    if filter.question_id is not None:
        query = query.where(Rating.question_id == filter.question_id)
    if filter.queue_id is not None:
        query = query.where(QueueItem.queue_id == filter.queue_id)
    if filter.sweep_id is not None:
        table = TABLES[text_kind(filter.scope)]
        of_sweep = (
            select(table.id)
            .join(SweepGeneration, SweepGeneration.generation_id == table.generation_id)
            .where(SweepGeneration.sweep_id == filter.sweep_id)
        )
        text, other = _sides(filter.scope)
        query = query.where(text.in_(of_sweep), other.is_(None) | other.in_(of_sweep))
    return query


def _sides(scope: Scope) -> tuple[InstrumentedAttribute[int | None], ...]:
    """Return the columns of a judged text and of the one it was compared with."""
    if scope == "reasoning":
        return Rating.variant_id, Rating.other_variant_id
    return Rating.answer_id, Rating.other_answer_id


def _columns(names: Sequence[str], rows: Sequence[Row[Any] | tuple[Any, ...]]) -> Columns:
    each = list(zip(*rows, strict=True)) or [()] * len(names)
    return {name: list(values) for name, values in zip(names, each, strict=True)}
