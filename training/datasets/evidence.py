"""What was said of texts, and how good they are by all of it, shrunken towards the average.

One model for all kinds of judgement: a comparison is won with the logistic chance of the difference
of two strengths (Bradley and Terry, 1952); OK or a value on a scale is a comparison with an average
text, whose strength is 0, won by that share. Strengths have a normal prior around 0, so that one
win says less than nine of ten, and who won against weak texts is not above one who met strong ones:
cards that are dealt by what is known so far make shares of wins no evidence, while the likelihood
of what was said does not depend on how its cards were chosen.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, diags_array
from scipy.sparse.linalg import spsolve
from scipy.special import expit, log_expit
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from db.rating.ratings import (
    FLAG,
    HIGHEST,
    LOWEST,
    OK,
    TAG,
    active_ratings,
    count_off_scale,
    of_repeat,
    overruled,
    seen_too_early,
)
from db.tables import Rater, Rating
from training.datasets.rules import RatedRule, Rules, Scope

PRIOR_SD: Final = 1.0
"""Of strengths, in logits: most texts win 27 to 73 % against the average one."""
MAX_STEPS: Final = 50
TOLERANCE: Final = 1e-9
Array = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)


def strengths(
    wins: Iterable[tuple[Key, Key, float]], points: Mapping[Key, tuple[float, float]]
) -> dict[Key, float]:
    """Return the strength of each text in logits, 0 for an average one: the mode of the posterior.

    Args:
        wins: Better text, worse text, how often; a tie is half a win of each.
        points: Text → what it won and lost against the average text.
    """
    pairs = list(wins)
    keys = list(dict.fromkeys([*points, *(key for pair in pairs for key in pair[:2])]))
    place = {key: number for number, key in enumerate(keys)}
    if not keys:
        return {}
    better = np.array([place[pair[0]] for pair in pairs], dtype=int)
    worse = np.array([place[pair[1]] for pair in pairs], dtype=int)
    n_wins = np.array([pair[2] for pair in pairs], dtype=float)
    alone = np.array([points.get(key, (0.0, 0.0)) for key in keys], dtype=float)
    return dict(zip(keys, _mode(better, worse, n_wins, alone).tolist(), strict=True))


def _mode(better: NDArray[np.int_], worse: NDArray[np.int_], n_wins: Array, alone: Array) -> Array:
    """Return the mode by Newton's method; the log posterior is concave, so there is one."""
    n = len(alone)
    won, lost = alone[:, 0], alone[:, 1]

    def height(s: Array) -> float:
        likelihood = n_wins @ log_expit(s[better] - s[worse])
        likelihood += won @ log_expit(s) + lost @ log_expit(-s)
        return float(likelihood - s @ s / (2 * PRIOR_SD**2))

    s = np.zeros(n)
    for _ in range(MAX_STEPS):
        chance = expit(s[better] - s[worse])
        pull = n_wins * (1 - chance)
        slope = np.bincount(better, pull, n) - np.bincount(worse, pull, n)
        slope = slope + won - (won + lost) * expit(s) - s / PRIOR_SD**2
        step = spsolve(_curvature(s, better, worse, n_wins * chance * (1 - chance), alone), slope)
        while height(s + step) < height(s) and np.abs(step).max() > TOLERANCE:
            step = step / 2
        s = s + step
        if np.abs(step).max() < TOLERANCE:
            break
    return s


def _curvature(
    s: Array, better: NDArray[np.int_], worse: NDArray[np.int_], weights: Array, alone: Array
) -> csc_array:
    """Return the negative second derivative of the log posterior: shape (texts, texts)."""
    n = len(s)
    own = np.bincount(better, weights, n) + np.bincount(worse, weights, n)
    own = own + alone.sum(axis=1) * expit(s) * expit(-s) + 1 / PRIOR_SD**2
    rows, columns = np.concatenate([better, worse]), np.concatenate([worse, better])
    between = coo_array((-np.concatenate([weights, weights]), (rows, columns)), shape=(n, n))
    return csc_array(diags_array(own) + between)


Won = Literal["a", "b", "tie", "both_bad"]
EVEN = 1e-6
"""Strengths that differ by less are equal."""


class TextKey(NamedTuple):
    """A text as it was judged: a reasoning by its own id, an answer or a whole by the answer's."""

    scope: Scope
    id: int


class PairKey(NamedTuple):
    """Two texts of one scope, the older one first."""

    a: TextKey
    b: TextKey


class Value(NamedTuple):
    """A value from 1 to 5."""

    rating_id: int
    rater_id: int
    axis: str
    value: float


class Judgement(NamedTuple):
    """One judgement of one text, or of two against each other."""

    rating_id: int
    rater_id: int
    scope: Scope
    question_id: int
    variant_id: int | None
    answer_id: int | None
    other_variant_id: int | None
    other_answer_id: int | None
    axis: str
    value: float | None
    outcome: Won | None


@dataclass(slots=True)
class Verdict:
    """What was said of one text alone, with the ids of the ratings."""

    values: list[Value] = field(default_factory=list)
    ok: list[int] = field(default_factory=list)
    not_ok: list[int] = field(default_factory=list)
    flagged: list[int] = field(default_factory=list)

    def of_axes(self, rule: RatedRule) -> list[Value]:
        """Return the values that ``rule`` looks at."""
        return [one for one in self.values if not rule.axes or one.axis in rule.axes]

    @property
    def is_contradictory(self) -> bool:
        """It was called OK and not OK."""
        return bool(self.ok and self.not_ok)


@dataclass(slots=True)
class PairVerdict:
    """How two texts compare: the ids of the ratings by outcome."""

    by_outcome: dict[Won, list[int]] = field(default_factory=dict)

    def ids(self, *outcomes: Won) -> list[int]:
        """Return the ratings with these outcomes."""
        return [one for outcome in outcomes for one in self.by_outcome.get(outcome, ())]

    def winner(self, rules: Rules) -> Literal["a", "b", "tie", "both_bad", "contradiction"]:
        """Return which text is better on the whole; who says "tie" contradicts nobody."""
        n_a, n_b = len(self.ids("a")), len(self.ids("b"))
        if n_a and n_b and (rules.contradictions == "drop" or n_a == n_b):
            return "contradiction"
        if n_a or n_b:
            return "a" if n_a > n_b else "b"
        return "both_bad" if self.ids("both_bad") else "tie"


@dataclass(slots=True)
class Evidence:
    """All judgements that count, by text and by pair."""

    texts: defaultdict[TextKey, Verdict] = field(default_factory=lambda: defaultdict(Verdict))
    pairs: dict[PairKey, PairVerdict] = field(default_factory=dict)
    question_of: dict[TextKey, int] = field(default_factory=dict)
    variant_of: dict[TextKey, int | None] = field(default_factory=dict)
    """The reasoning that a judged text is, or stands under."""
    won: defaultdict[TextKey, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Comparisons won, in pairs that nobody contradicts (or where most agree)."""
    strengths: dict[TextKey, float] = field(default_factory=dict)
    """By comparisons alone, in logits: 0 for an average text and where nobody compared."""
    combined: dict[TextKey, float] = field(default_factory=dict)
    """By comparisons, OK and values together."""
    n_off_scale: int = 0
    """Ratings that were not read, since their value is not one of their axis."""
    n_answer_seen: int = 0
    """Ratings of reasonings that were not read, since an answer had been seen."""

    def score(self, key: TextKey) -> float:
        """Return how good a text is by all that was said of it, 0 to 1; 0.5 where nothing was.

        It is the chance to win against an average text, shrunken towards ½ where little was said.
        """
        return float(expit(self.combined.get(key, 0.0)))

    def strength(self, key: TextKey) -> float:
        """Return the strength of a text by its comparisons, 0 for an average one."""
        found = self.strengths.get(key, 0.0)
        return 0.0 if abs(found) < EVEN else found


def read_evidence(
    session: Session,
    rules: Rules,
    question_ids: Collection[int],
    expected: Iterable[Judgement] = (),
) -> Evidence:
    """Return what the raters that ``rules`` count said of texts of these questions.

    Args:
        session: Of an open transaction.
        rules: Those of a dataset.
        question_ids: The questions.
        expected: Judgements that are not stored, taken as if they were.
    """
    wanted = set(question_ids)
    kind = "person" if rules.raters == "people" else "model"
    raters = select(Rater.id).where(Rater.kind == kind)
    counted: list[ColumnElement[bool]] = [
        Rating.rater_id.in_(raters),
        Rating.scope != "question",
        Rating.axis != TAG,
        or_(Rating.axis == FLAG, ~of_repeat()),
    ]
    if rules.blind_only:
        counted.append(Rating.blind.is_(True))
    evidence = Evidence(
        n_off_scale=count_off_scale(session, *counted),
        n_answer_seen=session.scalar(
            active_ratings().where(*counted, seen_too_early()).with_only_columns(func.count())
        )
        or 0,
    )
    columns = [
        Rating.id if name == "rating_id" else getattr(Rating, name) for name in Judgement._fields
    ]
    query = active_ratings().where(*counted, ~seen_too_early(), ~overruled())
    found = session.execute(query.order_by(Rating.id).with_only_columns(*columns))
    stored = (Judgement(*row) for row in found)
    for judgement in chain(stored, expected):
        if judgement.question_id in wanted:
            _note(evidence, judgement)
    _count_wins(evidence, rules)
    _fit(evidence, rules)
    return evidence


def _note(evidence: Evidence, judgement: Judgement) -> None:
    one = judgement
    key = _key(one.scope, one.variant_id, one.answer_id)
    evidence.question_of[key], evidence.variant_of[key] = one.question_id, one.variant_id
    verdict = evidence.texts[key]
    if one.outcome is not None:
        other = _key(one.scope, one.other_variant_id, one.other_answer_id)
        evidence.question_of[other] = one.question_id
        evidence.variant_of[other] = one.other_variant_id
        _compare(evidence, key, other, one.outcome, one.rating_id)
    elif one.axis == FLAG:
        verdict.flagged.append(one.rating_id)
    elif one.axis == OK:
        (verdict.ok if one.value else verdict.not_ok).append(one.rating_id)
    elif one.value is not None:
        verdict.values.append(Value(one.rating_id, one.rater_id, one.axis, one.value))


def _key(scope: str, variant_id: int | None, answer_id: int | None) -> TextKey:
    text_id = variant_id if scope == "reasoning" else answer_id
    assert text_id is not None  # a CHECK of the store
    return TextKey(cast(Scope, scope), text_id)


def _compare(
    evidence: Evidence, key: TextKey, other: TextKey, outcome: Won, rating_id: int
) -> None:
    swapped: dict[Won, Won] = {"a": "b", "b": "a"}
    if other.id < key.id:
        key, other, outcome = other, key, swapped.get(outcome, outcome)
    verdict = evidence.pairs.setdefault(PairKey(key, other), PairVerdict())
    verdict.by_outcome.setdefault(outcome, []).append(rating_id)


def _count_wins(evidence: Evidence, rules: Rules) -> None:
    for pair, verdict in evidence.pairs.items():
        winner = verdict.winner(rules)
        if winner in ("a", "b"):
            evidence.won[pair.a if winner == "a" else pair.b] += verdict.ids(winner)


def _fit(evidence: Evidence, rules: Rules) -> None:
    """Fit strengths to all that was said; contradicted pairs take part unless they are dropped."""
    wins: list[tuple[TextKey, TextKey, float]] = []
    lost: Counter[TextKey] = Counter()
    for (a, b), verdict in evidence.pairs.items():
        lost.update({key: len(verdict.ids("both_bad")) for key in (a, b)})
        if verdict.winner(rules) != "contradiction":
            half_ties = len(verdict.ids("tie")) / 2
            wins += [
                (a, b, len(verdict.ids("a")) + half_ties),
                (b, a, len(verdict.ids("b")) + half_ties),
            ]
    points: dict[TextKey, tuple[float, float]] = {}
    for key, said_alone in evidence.texts.items():
        shares = [(one.value - LOWEST) / (HIGHEST - LOWEST) for one in said_alone.values]
        shares += [1.0] * len(said_alone.ok) + [0.0] * len(said_alone.not_ok)
        points[key] = (sum(shares), len(shares) - sum(shares) + lost[key])
    both_bad = {key: (0.0, float(n)) for key, n in lost.items()}
    evidence.strengths = strengths(wins, both_bad)
    evidence.combined = strengths(wins, both_bad | points)
