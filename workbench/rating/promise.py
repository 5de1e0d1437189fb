"""What a queue promises before anybody rates: which levels it can tell apart, and training rows.

A lead of one level over another is a share of points p; n comparisons of the two show it with a
95 % interval in four of five cases where ``|p - 1/2| >= (1.96 + 0.84) / (2 sqrt(n))``, the normal
sample size of a proportion (Fleiss, Levin and Paik, "Statistical Methods for Rates and
Proportions", 2003, chapter 4). Comparisons of one question hang together, so that n never counts
more than ``PER_QUESTION`` of them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import pandas as pd
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.queues import NewItem
from db.rating_columns import origins_of, read_samplings
from db.ratings import OK, PREFERENCE, Scope, standing
from db.tables import Question, Rating
from workbench.analysis.comparisons import FACTORS, origins_table
from workbench.rating.building import BuiltQueue

REACH = (1.96 + 0.84) / 2
PER_QUESTION = 2.0
CLEAR = 0.75
"""A preference that a queue should be able to show: three of four points."""
USUAL_SHARE = 0.6
"""Share of cards that decide something, until there is a history."""
HISTORY = 500
FEW = 30
"""Ratings that make a history."""
MOST_ITEMS = 2_000
"""Items whose texts are looked up; the shares of the rest are taken to be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separable:
    """Two levels of a factor that the queue compares."""

    factor: str
    a: str
    b: str
    n_cards: int
    shows: float
    """The smallest share of points of the better one, ½ to 1, that the queue probably shows."""

    @property
    def is_enough(self) -> bool:
        """A clear preference would be seen."""
        return self.shows <= CLEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What one queue is good for."""

    separable: tuple[Separable, ...]
    """Pairs of levels that meet on its cards, those told apart best first."""
    training_rows: int
    """Rows that a dataset gains: decided comparisons, or texts that are found OK."""
    held_out: int
    """Cards of held-out questions, which never train."""
    share: float
    """Of the cards that give a row, as counted here or usual."""
    is_counted: bool
    """The share is that of the ratings in this store."""


def promise(session: Session, built: BuiltQueue) -> Promise:
    """Return what the items of a queue can tell and teach; writes nothing."""
    spec = built.spec
    held_out = _held_out(session, built)
    share, is_counted = _share(session, spec.scope, compares=spec.way == "pair")
    trains = 0 if spec.scope == "question" else len(built.items) - held_out
    return Promise(
        separable=_separable(session, built, share) if spec.way == "pair" else (),
        training_rows=round(trains * share),
        held_out=held_out,
        share=share,
        is_counted=is_counted,
    )


def shows(n: float) -> float:
    """Return the smallest share of points, ½ to 1, that ``n`` decided comparisons probably show."""
    return min(1.0, 0.5 + REACH / n**0.5) if n > 0 else 1.0


def _separable(session: Session, built: BuiltQueue, share: float) -> tuple[Separable, ...]:
    items = list(islice(built.items, MOST_ITEMS))
    if not items:
        return ()
    scale = len(built.items) / len(items)
    levels = _levels(session, built.spec.scope, items)
    cards: Counter[tuple[str, str, str]] = Counter()
    by_question: defaultdict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
    for item in items:
        assert item.other is not None
        a, b = (levels.get(_text(built.spec.scope, side)) for side in (item.target, item.other))
        for factor in FACTORS:
            first, second = (side.get(factor) if side else None for side in (a, b))
            if first is None or second is None or first == second:
                continue
            low, high = sorted((str(first), str(second)))
            pair = (factor, low, high)
            cards[pair] += 1
            by_question[pair][item.target.question_id] += 1
    found = []
    for (factor, a_level, b_level), n in cards.items():
        told = sum(min(PER_QUESTION, own) for own in by_question[factor, a_level, b_level].values())
        found.append(
            Separable(
                factor=factor,
                a=a_level,
                b=b_level,
                n_cards=round(n * scale),
                shows=shows(told * scale * share),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.shows, one.factor, one.a, one.b)))


def _levels(
    session: Session, scope: Scope, items: list[NewItem]
) -> dict[int, Mapping[str, object]]:
    sides = [side for item in items for side in (item.target, item.other) if side]
    origins = origins_of(session, scope, sorted({_text(scope, side) for side in sides}))
    table: pd.DataFrame = origins_table(origins, read_samplings(session))
    return {int(id): row for id, row in table[list(FACTORS)].to_dict("index").items()}


def _text(scope: Scope, side: object) -> int:
    text_id = getattr(side, "variant_id" if scope == "reasoning" else "answer_id")
    assert isinstance(text_id, int)
    return text_id


def _held_out(session: Session, built: BuiltQueue) -> int:
    asked = Counter(item.target.question_id for item in built.items)
    kept = session.scalars(
        select(Question.id).where(Question.held_out.is_(True), Question.id.in_(asked))
    )
    return sum(asked[question_id] for question_id in kept)


def _share(session: Session, scope: Scope, *, compares: bool) -> tuple[float, bool]:
    """Return the share of people's latest judgements that gave a row, and whether it is counted."""
    axis = PREFERENCE if compares else OK
    latest = (
        standing()
        .where(Rating.scope == scope, Rating.axis == axis)
        .with_only_columns(Rating.outcome, Rating.value)
        .order_by(Rating.id.desc())
        .limit(HISTORY)
        .subquery()
    )
    good = latest.c.outcome.in_(("a", "b")) if compares else latest.c.value == 1
    row = session.execute(select(func.count(), func.count().filter(good)).select_from(latest)).one()
    n, hits = row[0], row[1]
    return (hits / n, True) if n >= FEW else (USUAL_SHARE, False)
