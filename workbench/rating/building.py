"""Queues from what the store holds: which texts, which comparisons, what was left out and why."""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import median
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.queues import NewItem, Way, create_queue
from db.ratings import Scope, Target
from db.tables import QueueItem, Rating, RatingQueue
from db.texts import TextFilter, TextKey, text_keys
from workbench.rating.sampling import Sampler

BAD_FLAGS = ("empty", "unparsed", "cut_off", "repetition")
"""Findings that make a text not worth a rater's time."""
USUAL_SECONDS: dict[Way, float] = {"pair": 15.0, "single": 20.0, "table": 8.0}
"""Per card, until raters have a history."""
HISTORY = 500

_T = TypeVar("_T", bound=Hashable)


class QueueSpec(BaseModel):
    """What a queue is made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    way: Way = "pair"
    scope: Scope = "reasoning"
    sweep: int | None = None
    """Only texts that this sweep wrote or found written."""
    search: str = ""
    languages: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    models: tuple[int, ...] = ()
    """Ids of model versions."""
    leave_out: tuple[str, ...] = BAD_FLAGS
    """Checks whose findings keep a text out."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Cards at most."""
    overlap: Annotated[int, Field(ge=1, le=20)] = 1
    sampler: Sampler = "informative"
    repeat_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1

    @model_validator(mode="after")
    def _questions_stand_alone(self) -> Self:
        if self.scope == "question" and self.way == "pair":
            raise ValueError("questions are rated one at a time; set way to single or table")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltQueue:
    """The items of a queue before it is stored."""

    spec: QueueSpec
    items: tuple[NewItem, ...]
    n_texts: int
    """Texts among which the items were chosen."""
    n_questions: int
    left_out: dict[str, int]
    """Reason → texts left out: the name of a check, ``duplicate``, ``alone`` (nothing to compare
    with)."""
    n_possible: int
    """Cards that there would be without a limit."""


def build_queue(session: Session, spec: QueueSpec) -> BuiltQueue:
    """Return the items that ``spec`` asks for; writes nothing."""
    left_out: Counter[str] = Counter()
    texts = _texts(session, spec, left_out)
    groups: defaultdict[Hashable, list[TextKey]] = defaultdict(list)
    for text in texts:
        groups[_group(spec, text)].append(text)
    lists = list(groups.values())
    random.shuffle(lists)
    if spec.way == "pair":
        left_out["alone"] += sum(len(group) for group in lists if len(group) < 2)
        rounds: list[Iterable[NewItem]] = [_pairs(spec, group) for group in lists]
    else:
        rounds = [[NewItem(target=_target(text)) for text in group] for group in lists]
    items = _in_turn(rounds)
    return BuiltQueue(
        spec=spec,
        items=tuple(items[: spec.limit]),
        n_texts=len(texts),
        n_questions=len({text.question_id for text in texts}),
        left_out={reason: n for reason, n in left_out.items() if n},
        n_possible=len(items),
    )


def save_queue(session: Session, built: BuiltQueue) -> int:
    """Store a built queue; return its id.

    Raises:
        UsageError: It holds nothing.
    """
    spec = built.spec
    kept: dict[str, Any] = spec.model_dump(mode="json", exclude={"name", "way", "scope", "overlap"})
    return create_queue(
        session,
        name=spec.name,
        way=spec.way,
        scope=spec.scope,
        spec={**kept, "left_out": built.left_out},
        items=built.items,
        overlap=spec.overlap,
    )


def seconds_per_card(session: Session, way: Way, scope: Scope) -> float:
    """Return the median time that people took for a card of this kind lately."""
    recent = session.scalars(
        select(Rating.seconds)
        .join(QueueItem, QueueItem.id == Rating.queue_item_id)
        .join(RatingQueue, RatingQueue.id == QueueItem.queue_id)
        .where(RatingQueue.way == way, Rating.scope == scope, Rating.seconds.is_not(None))
        .order_by(Rating.id.desc())
        .limit(HISTORY)
    )
    seconds = [one for one in recent if one is not None]
    return median(seconds) if len(seconds) >= 10 else USUAL_SECONDS[way]


def _texts(session: Session, spec: QueueSpec, left_out: Counter[str]) -> list[TextKey]:
    """Return the texts to rate, one of each wording a question (and reasoning)."""
    kind: Literal["variant", "answer"] = "variant" if spec.scope == "reasoning" else "answer"
    kept = []
    seen = set()
    for text in text_keys(session, _filter(spec, kind)):
        found = next((flag for flag in spec.leave_out if flag in text.flags), None)
        wording = (text.question_id, text.variant_id, text.content_hash)
        if found:
            left_out[found] += 1
        elif text.source == "control":
            left_out["control"] += 1
        elif wording in seen:
            left_out["duplicate"] += 1
        else:
            seen.add(wording)
            kept.append(text)
    if spec.scope == "question":
        return list({text.question_id: text for text in kept}.values())
    return kept


def _filter(spec: QueueSpec, kind: Literal["variant", "answer"]) -> TextFilter:
    return TextFilter(
        kind=kind,
        sweep_id=spec.sweep,
        search=spec.search,
        languages=spec.languages,
        roles=spec.roles,
        formats=spec.formats,
        model_version_ids=spec.models,
    )


def _group(spec: QueueSpec, text: TextKey) -> Hashable:
    """Return what two texts must share to be compared."""
    if spec.scope == "answer":
        return (text.question_id, text.variant_id)
    return text.question_id


def _target(text: TextKey) -> Target:
    if text.kind == "variant":
        return Target(question_id=text.question_id, variant_id=text.id)
    return Target(question_id=text.question_id, variant_id=text.variant_id, answer_id=text.id)


def _pairs(spec: QueueSpec, group: Sequence[TextKey]) -> Iterator[NewItem]:
    """Yield comparisons so that every text is met early and equally often.

    The texts lie on a circle in random order: first neighbours, then those two steps apart, and so
    on, so that any beginning of the list connects them all.
    """
    circle = random.sample(group, len(group))
    n = len(circle)
    for step in range(1, n // 2 + 1):
        for start in range(n if 2 * step < n else n // 2):
            a, b = circle[start], circle[(start + step) % n]
            if spec.scope == "whole" and a.variant_id == b.variant_id:
                continue
            first, other = sorted((a, b), key=lambda text: text.id)
            yield NewItem(target=_target(first), other=_target(other))


def _in_turn(lists: Iterable[Iterable[_T]]) -> list[_T]:
    """Return one of each list, then the second of each, and so on."""
    return [one for turn in zip_longest(*lists) for one in turn if one is not None]
