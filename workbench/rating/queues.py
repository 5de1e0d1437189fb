"""Queues from what the store holds: which texts, which comparisons, what was left out and why."""

import random
from collections import Counter, defaultdict
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from statistics import median
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.rating.queues import NewItem, Way, create_queue
from db.rating.ratings import FLAG, Scope, Target, active_ratings, ensure_rater
from db.tables import QueueItem, Rating, RatingQueue
from db.texts.lists import TextHeader
from workbench.rating.head_to_head import head_to_head_cards
from workbench.rating.sources import QueueSpec, find_questions, find_texts

__all__ = ["BuiltQueue", "QueueSpec", "build_queue", "save_queue", "seconds_per_card"]
USUAL_SECONDS: dict[Way, float] = {"pair": 15.0, "single": 20.0, "table": 8.0}
"""Per card, until raters have a history."""
HISTORY = 500
MOST_CARDS = 20_000
"""Cards of a queue; at 15 seconds a card, that is two weeks of work."""
MIN_QUESTIONS = 120
"""A queue with fewer cards chooses among so many questions; with more, among as many."""
_T = TypeVar("_T", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltQueue:
    """The items of a queue before it is stored."""

    spec: QueueSpec
    items: tuple[NewItem, ...]
    n_texts: int
    """Texts among which the items were chosen."""
    left_out: dict[str, int]
    """Reason → texts left out: the name of a check, ``duplicate``, ``alone`` (nothing to compare
    with), ``flagged`` by a rater; ``held_out``: questions left out."""
    n_possible: int
    """Cards that there would be without a limit, of the questions that were looked at."""
    n_source: int
    """Questions of the source."""
    n_looked_at: int
    """Those that were looked at, drawn by lot where a queue needs no more."""

    @property
    def n_questions(self) -> int:
        """Questions that have cards."""
        return len({item.target.question_id for item in self.items})


def build_queue(session: Session, spec: QueueSpec) -> BuiltQueue:
    """Return the items that ``spec`` asks for; writes nothing.

    Raises:
        UsageError: Its source does not exist.
    """
    limit = min(spec.limit or MOST_CARDS, MOST_CARDS)
    if spec.scope == "question":
        return _of_questions(spec, find_questions(session, spec), limit)
    if spec.round is not None:
        return _of_round(session, spec, limit)
    found = find_texts(session, spec, max(MIN_QUESTIONS, limit if spec.limit else MOST_CARDS))
    left_out = Counter({"held_out": found.n_held_out})
    flagged = _flagged(session) if spec.only_trainable else frozenset()
    texts = list(_worth_rating(spec, found.texts, flagged, left_out))
    groups: defaultdict[Hashable, list[TextHeader]] = defaultdict(list)
    for text in texts:
        groups[_group(spec, text)].append(text)
    lists = list(groups.values())
    random.shuffle(lists)
    if spec.way == "pair":
        left_out["alone"] += sum(len(group) for group in lists if len(group) < 2)
        rounds: list[Iterable[NewItem]] = [_pairs(spec, group) for group in lists]
        n_possible = sum(_n_pairs(spec, group) for group in lists)
    else:
        rounds = [[NewItem(target=_target(text)) for text in group] for group in lists]
        n_possible = len(texts)
    return BuiltQueue(
        spec=spec,
        items=tuple(islice(_in_turn(rounds), limit)),
        n_texts=len(texts),
        left_out={reason: n for reason, n in left_out.items() if n},
        n_possible=n_possible,
        n_source=found.n_questions,
        n_looked_at=found.n_looked_at,
    )


def _of_questions(spec: QueueSpec, ids: Sequence[int], limit: int) -> BuiltQueue:
    return BuiltQueue(
        spec=spec,
        items=tuple(NewItem(target=Target(question_id=id)) for id in ids[:limit]),
        n_texts=len(ids),
        left_out={},
        n_possible=len(ids),
        n_source=len(ids),
        n_looked_at=len(ids),
    )


def _of_round(session: Session, spec: QueueSpec, limit: int) -> BuiltQueue:
    found = head_to_head_cards(session, spec)
    questions = list(found.by_question)
    random.shuffle(questions)
    n_possible = sum(len(cards) for cards in questions)
    return BuiltQueue(
        spec=spec,
        items=tuple(islice(_in_turn(questions), limit)),
        n_texts=2 * n_possible,
        left_out=found.left_out,
        n_possible=n_possible,
        n_source=found.n_questions,
        n_looked_at=found.n_questions,
    )


def save_queue(session: Session, built: BuiltQueue) -> int:
    """Store a built queue; return its id.

    Raises:
        UsageError: It holds nothing.
    """
    spec = built.spec
    if not built.items and built.left_out:
        raise UsageError(
            "Nothing to rate is left; texts were left out ({left_out}). Take some of"
            " them in, or choose other texts.",
            left_out=listed(built.left_out),
        )
    stored: dict[str, Any] = spec.model_dump(
        mode="json", exclude={"name", "way", "scope", "overlap"}
    )
    return create_queue(
        session,
        name=spec.name,
        way=spec.way,
        scope=spec.scope,
        spec={**stored, "left_out": built.left_out},
        items=built.items,
        overlap=spec.overlap,
        raters={ensure_rater(session, name): share for name, share in spec.raters.items()},
    )


def seconds_per_card(session: Session, way: Way, scope: Scope) -> float:
    """Return the median time that people took for a card of this kind lately."""
    recent = session.scalars(
        select(Rating.seconds)
        .join(QueueItem, QueueItem.id == Rating.queue_item_id)
        .join(RatingQueue, RatingQueue.id == QueueItem.queue_id)
        .where(RatingQueue.way == way, Rating.scope == scope, Rating.seconds >= 0)
        .order_by(Rating.id.desc())
        .limit(HISTORY)
    )
    seconds = [one for one in recent if one is not None]
    return median(seconds) if len(seconds) >= 10 else USUAL_SECONDS[way]


def _flagged(session: Session) -> frozenset[tuple[str, int]]:
    """Return the reasonings and answers that people put a flag on, by kind and id."""
    query = active_ratings().where(Rating.axis == FLAG, Rating.scope != "question")
    rows = session.execute(query.with_only_columns(Rating.variant_id, Rating.answer_id))
    return frozenset(
        ("variant", row.variant_id) if row.answer_id is None else ("answer", row.answer_id)
        for row in rows
    )


def _worth_rating(
    spec: QueueSpec,
    texts: Iterable[TextHeader],
    flagged: Container[tuple[str, int | None]],
    left_out: Counter[str],
) -> Iterator[TextHeader]:
    """Yield the texts to rate, one of each wording a question (and reasoning); count the others."""
    seen = set()
    for text in texts:
        found = next((flag for flag in spec.leave_out if flag in text.flags), None)
        wording = (text.question_id, text.variant_id, text.content_hash)
        if found:
            left_out[found] += 1
        elif text.source == "control":
            left_out["control"] += 1
        elif (text.kind, text.id) in flagged or ("variant", text.variant_id) in flagged:
            left_out["flagged"] += 1
        elif wording in seen:
            left_out["duplicate"] += 1
        else:
            seen.add(wording)
            yield text


def _group(spec: QueueSpec, text: TextHeader) -> Hashable:
    """Return what two texts must share to be compared."""
    if spec.scope == "answer":
        return (text.question_id, text.variant_id)
    return text.question_id


def _target(text: TextHeader) -> Target:
    if text.kind == "variant":
        return Target(question_id=text.question_id, variant_id=text.id)
    return Target(question_id=text.question_id, variant_id=text.variant_id, answer_id=text.id)


def _pairs(spec: QueueSpec, group: Sequence[TextHeader]) -> Iterator[NewItem]:
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


def _n_pairs(spec: QueueSpec, group: Sequence[TextHeader]) -> int:
    """Return how many comparisons ``_pairs`` yields."""
    n = len(group) * (len(group) - 1) // 2
    if spec.scope == "whole":
        for own in Counter(text.variant_id for text in group).values():
            n -= own * (own - 1) // 2
    return n


def _in_turn(lists: Iterable[Iterable[_T]]) -> Iterator[_T]:
    """Yield one of each list, then the second of each, and so on."""
    return (one for turn in zip_longest(*lists) for one in turn if one is not None)


KEEP_FLAGGED = "--keep-flagged"
KEEP_UNTRAINABLE = "--keep-untrainable"
_WHY = {
    "alone": "nothing to compare them with",
    "duplicate": "the same words as another",
    "flagged": f"a rater flagged them; no dataset takes them ({KEEP_UNTRAINABLE})",
    "held_out": f"their question is held out and never trains ({KEEP_UNTRAINABLE})",
    "control": "made as a control of a score",
    "not_held_out": "their question is not held out",
    "not_whole": "no reasoning with an answer",
    "same_words": "both models wrote the same",
}


def why_left_out(reason: str) -> str:
    """Return what a reason means, with the option that takes such texts in, where there is one."""
    return _WHY.get(reason, f"finding {reason} ({KEEP_FLAGGED})")


def listed(left_out: Mapping[str, int]) -> str:
    """Return all reasons with their counts, for a sentence."""
    return "; ".join(f"{n:,}: {why_left_out(reason)}" for reason, n in left_out.items())
