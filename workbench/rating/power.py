"""What a queue promises before anybody rates: which levels it can tell apart, and training rows.

Both are worked out as they will be found out: the first by the power of the analysis that Insights
makes (``workbench.rating.power``), the second by the rules of datasets applied to drawn outcomes
(``workbench.rating.forecast``).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components
from scipy.special import logit
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.rating.columns import origins_of, read_samplings
from db.rating.queues import NewItem
from db.rating.ratings import OK, PREFERENCE, Scope, Target, active_ratings, of_repeat
from db.tables import Question, Rating
from serving.formats.library import Registry
from workbench.rating.forecast import Shares, training_rows
from workbench.rating.queues import BuiltQueue
from workbench.stats.comparisons import FACTORS, origins_table
from workbench.stats.intervals import LEVEL, Array
from workbench.stats.mixed_effects import IMAGINED, USUAL_DEVIATION, expected_points

CLEAR = 0.75
"""A preference that a queue should be able to show: three of four points."""
USUAL = Shares(good=0.6, tie=0.2, is_counted=False)
"""How judgements end, until there is a history."""
HISTORY = 500
MIN_HISTORY = 30
"""Ratings that make a history."""
MAX_ITEMS = 2_000
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
class PowerEstimate:
    """What one queue is good for."""

    separable: tuple[Separable, ...]
    """Pairs of levels that meet on its cards, those told apart best first."""
    training_rows: Mapping[str, int]
    """Kind of dataset → rows to train on that its rules at their defaults gain; empty: none can."""
    held_out: int
    """Cards of held-out questions, which never train."""
    share: float
    """Of the cards that decide something, or find a text OK, as counted here or usual."""
    is_counted: bool
    """The share is that of the ratings in this store."""


def power_estimate(session: Session, built: BuiltQueue, registry: Registry) -> PowerEstimate:
    """Return what the items of a queue can tell and teach; writes nothing."""
    spec = built.spec
    compares = spec.way == "pair"
    shares = _shares(session, spec.scope, compares=compares)
    return PowerEstimate(
        separable=_separable(session, built, shares.good) if compares else (),
        training_rows=training_rows(session, built, shares, registry),
        held_out=_held_out(session, built),
        share=shares.good,
        is_counted=shares.is_counted,
    )


def _separable(session: Session, built: BuiltQueue, share: float) -> tuple[Separable, ...]:
    """Return the pairs of levels that meet, those told apart best first.

    Every card counts as often as raters meet it, and each of them decides with chance ``share``.
    """
    items = list(islice(built.items, MAX_ITEMS))
    if not items:
        return ()
    scale = len(built.items) / len(items)
    levels = _levels(session, built.spec.scope, items)
    found: list[Separable] = []
    for factor in FACTORS:
        met = _met(built.spec.scope, items, levels, factor)
        names = sorted({name for one in met for name in one[:2]})
        if len(names) > 1:
            found += _of_factor(factor, names, met, scale, built.spec.overlap * share)
    return tuple(sorted(found, key=lambda one: (one.shows, one.factor, one.a, one.b)))


def _met(
    scope: Scope,
    items: list[NewItem],
    levels: Mapping[int, Mapping[str, object]],
    factor: str,
) -> list[tuple[str, str, NewItem]]:
    """Return the cards whose two texts both have a level of ``factor``, with these levels."""
    met = []
    for item in items:
        assert item.other is not None
        sides = [levels.get(_text(scope, side), {}) for side in (item.target, item.other)]
        first, second = (side.get(factor) for side in sides)
        if first is not None and second is not None:
            met.append((str(first), str(second), item))
    return met


def _of_factor(
    factor: str, names: list[str], met: list[tuple[str, str, NewItem]], scale: float, times: float
) -> list[Separable]:
    place = {name: i for i, name in enumerate(names)}
    meetings, cards = [], Counter[tuple[str, str]]()
    questions: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for first, second, item in met:
        assert item.other is not None
        question = item.target.question_id
        meetings.append(
            Meeting(
                question,
                a=item.target.answer_id or item.target.variant_id or 0,
                b=item.other.answer_id or item.other.variant_id or 0,
                level_a=place[first],
                level_b=place[second],
                n=times,
            )
        )
        if first != second:
            pair = (min(first, second), max(first, second))
            cards[pair] += 1
            questions[pair].add(question)
    errors = lead_errors(meetings, len(names)) / scale**0.5
    return [
        Separable(
            factor=factor,
            a=a.removeprefix(f"{factor} "),
            b=b.removeprefix(f"{factor} "),
            n_cards=round(n * scale),
            shows=smallest_share(
                errors[:, place[a], place[b]], round(len(questions[a, b]) * scale)
            ),
        )
        for (a, b), n in cards.items()
    ]


def _levels(
    session: Session, scope: Scope, items: list[NewItem]
) -> dict[int, Mapping[str, object]]:
    sides = [side for item in items for side in (item.target, item.other) if side]
    origins = origins_of(session, scope, sorted({_text(scope, side) for side in sides}))
    table: pd.DataFrame = origins_table(origins, read_samplings(session))
    return {int(id): row for id, row in table[list(FACTORS)].to_dict("index").items()}


def _text(scope: Scope, side: Target) -> int:
    text_id = side.variant_id if scope == "reasoning" else side.answer_id
    assert text_id is not None
    return text_id


def _held_out(session: Session, built: BuiltQueue) -> int:
    asked = Counter(item.target.question_id for item in built.items)
    held_out = session.scalars(
        select(Question.id).where(Question.held_out.is_(True), Question.id.in_(asked))
    )
    return sum(asked[question_id] for question_id in held_out)


def _shares(session: Session, scope: Scope, *, compares: bool) -> Shares:
    """Return how people's latest judgements ended, or how they usually end."""
    axis = PREFERENCE if compares else OK
    latest = (
        active_ratings()
        .where(Rating.scope == scope, Rating.axis == axis, ~of_repeat())
        .with_only_columns(Rating.outcome, Rating.value)
        .order_by(Rating.id.desc())
        .limit(HISTORY)
        .subquery()
    )
    good = latest.c.outcome.in_(("a", "b")) if compares else latest.c.value == 1
    even = latest.c.outcome == "tie"
    counts = (func.count(), func.count().filter(good), func.count().filter(even))
    n, n_good, n_even = session.execute(select(*counts).select_from(latest)).one()
    return Shares(good=n_good / n, tie=n_even / n, is_counted=True) if n >= MIN_HISTORY else USUAL


POWER: Final = 0.8
SHARES: Final = np.array([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
"""Shares of points at which errors are worked out; between them they are interpolated."""
SMALL_SAMPLE: Final = (0.6, 10.0)
"""Errors grow by these over the number of questions, and over its square, since the spreads are
estimated as well: measured by ``benchmarks/queue_power.py``."""
ATTENUATION: Final = float(4 * (expected_points(np.array(0.01), 2 * USUAL_DEVIATION) - 0.5) / 0.01)
"""Of a small lead of texts that differ, on the scale of log odds of the share of points."""


class Meeting(NamedTuple):
    """Comparisons of two texts under one question."""

    question: int
    a: int
    b: int
    level_a: int
    level_b: int
    n: float
    """How many will decide something."""


def lead_errors(meetings: Iterable[Meeting], n_levels: int) -> Array:
    """Return the standard errors of the leads of levels: shape (shares, levels, levels).

    On the scale of log odds of the share of points, at each of ``SHARES``; infinite where nothing
    connects two levels.
    """
    by_question: defaultdict[int, list[Meeting]] = defaultdict(list)
    for meeting in meetings:
        if meeting.n > 0:
            by_question[meeting.question].append(meeting)
    information = np.zeros((len(SHARES), n_levels, n_levels))
    for own in by_question.values():
        information += _information(own, n_levels)
    return np.stack([_errors(one) for one in information])


def chance_to_show(share: float, errors: Array, n_questions: int) -> float:
    """Return the chance that the interval of a share of points lies above one half.

    Args:
        share: The true one, ½ to 1.
        errors: Of the lead of these two levels, shape (shares,).
        n_questions: Questions that tell of it.
    """
    if n_questions < 2 or not np.isfinite(errors).all():
        return 0.0
    needed = stats.t.ppf((1 + LEVEL) / 2, n_questions - 1)
    once, twice = SMALL_SAMPLE
    error = np.interp(share, SHARES, errors) * (1 + once / n_questions + twice / n_questions**2)
    return float(stats.nct.sf(needed, n_questions - 1, logit(share) / error))


def smallest_share(errors: Array, n_questions: int, power: float = POWER) -> float:
    """Return the smallest share of points, ½ to 1, that is shown with this power; 1: none is."""
    if chance_to_show(SHARES[-1], errors, n_questions) < power:
        return 1.0
    return float(
        brentq(lambda share: chance_to_show(share, errors, n_questions) - power, 0.5, SHARES[-1])
    )


def _information(own: list[Meeting], n_levels: int) -> Array:
    """Return what one question tells of the levels: shape (shares, levels, levels)."""
    texts = {text: place for place, text in enumerate({t for m in own for t in (m.a, m.b)})}
    of_level, of_text = np.zeros((len(own), n_levels)), np.zeros((len(own), len(texts)))
    for row, one in enumerate(own):
        of_level[row, one.level_a] += 1
        of_level[row, one.level_b] -= 1
        of_text[row, texts[one.a]] += 1
        of_text[row, texts[one.b]] -= 1
    variance_of_texts = (ATTENUATION * USUAL_DEVIATION) ** 2
    varies = variance_of_texts * (of_level @ of_level.T + of_text @ of_text.T)
    # One comparison by itself tells as much as one of a share of points.
    alone = 1 / (SHARES * (1 - SHARES)) - 4 * variance_of_texts
    n = np.array([one.n for one in own])
    variance = varies + alone[:, None, None] * np.diag(1 / n)
    return np.asarray(
        of_level.T
        @ np.linalg.solve(variance, np.broadcast_to(of_level, (len(SHARES), *of_level.shape)))
    )


def _errors(information: Array) -> Array:
    n = len(information)
    variances = np.linalg.pinv(information + IMAGINED / 4 * (np.eye(n) - 1 / n))
    own = np.diag(variances)
    errors = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * variances, 0.0))
    _, part = connected_components(information < 0, directed=False)
    errors[part[:, None] != part[None, :]] = np.inf
    return np.asarray(errors)
