"""What raters said of texts, gathered by text and by pair; only judgements that still hold."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from db.ratings import FLAG, HIGHEST, LOWEST, OK, TAG, count_off_scale, standing
from db.tables import Rater, Rating
from training.datasets.rules import RatedRule, Rules, Scope

Won = Literal["a", "b", "tie", "both_bad"]


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
    lost: defaultdict[TextKey, list[int]] = field(default_factory=lambda: defaultdict(list))
    n_off_scale: int = 0
    """Ratings that were not read, since their value is not one of their axis."""

    def score(self, key: TextKey) -> float:
        """Return how good a text is by all that was said of it, 0 to 1; 0.5 where nothing was."""
        said = self.texts.get(key, Verdict())
        points = [(one.value - LOWEST) / (HIGHEST - LOWEST) for one in said.values]
        points += [1.0] * (len(said.ok) + len(self.won.get(key, ())))
        points += [0.0] * (len(said.not_ok) + len(self.lost.get(key, ())))
        return sum(points) / len(points) if points else 0.5


def read_evidence(session: Session, rules: Rules, question_ids: Collection[int]) -> Evidence:
    """Return what the raters that ``rules`` count said of texts of these questions."""
    wanted = set(question_ids)
    kind = "person" if rules.raters == "people" else "model"
    raters = select(Rater.id).where(Rater.kind == kind)
    counted: list[ColumnElement[bool]] = [
        Rating.rater_id.in_(raters),
        Rating.scope != "question",
        Rating.axis != TAG,
    ]
    if rules.blind_only:
        counted.append(Rating.blind.is_(True))
    evidence = Evidence(n_off_scale=count_off_scale(session, *counted))
    query = standing().where(*counted)
    rows = session.execute(
        query.with_only_columns(
            Rating.id,
            Rating.rater_id,
            Rating.scope,
            Rating.question_id,
            Rating.variant_id,
            Rating.answer_id,
            Rating.other_variant_id,
            Rating.other_answer_id,
            Rating.axis,
            Rating.value,
            Rating.outcome,
        ).order_by(Rating.id)
    )
    for (
        rating_id,
        rater_id,
        scope,
        question_id,
        variant_id,
        answer_id,
        other_variant_id,
        other_answer_id,
        axis,
        value,
        outcome,
    ) in rows:
        if question_id not in wanted:
            continue
        key = _key(scope, variant_id, answer_id)
        evidence.question_of[key], evidence.variant_of[key] = question_id, variant_id
        said = evidence.texts[key]
        if outcome is not None:
            other = _key(scope, other_variant_id, other_answer_id)
            evidence.question_of[other] = question_id
            evidence.variant_of[other] = other_variant_id
            _compare(evidence, key, other, cast(Won, outcome), rating_id)
        elif axis == FLAG:
            said.flagged.append(rating_id)
        elif axis == OK:
            (said.ok if value else said.not_ok).append(rating_id)
        elif value is not None:
            said.values.append(Value(rating_id, rater_id, axis, value))
    _count_wins(evidence, rules)
    return evidence


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
    said = evidence.pairs.setdefault(PairKey(key, other), PairVerdict())
    said.by_outcome.setdefault(outcome, []).append(rating_id)


def _count_wins(evidence: Evidence, rules: Rules) -> None:
    for pair, said in evidence.pairs.items():
        winner = said.winner(rules)
        if winner == "both_bad":
            for key in pair:
                evidence.lost[key] += said.ids("both_bad")
        elif winner in ("a", "b"):
            better, worse = pair if winner == "a" else (pair.b, pair.a)
            evidence.won[better] += said.ids(winner)
            evidence.lost[worse] += said.ids(winner)
