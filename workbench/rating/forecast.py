"""How many training rows a queue gives: the rules themselves, applied to outcomes that are drawn.

Each card's outcome is drawn as usual raters would give it: who of two texts is better follows from
strengths that differ as Insights takes for usual, and how often nothing is decided from the latest
judgements of this store. Then the rules of each kind of dataset at their defaults choose: what they
hold out, drop as contradicted, as nearly the same, or beyond so many of one question, is no row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
from scipy.special import expit
from sqlalchemy.orm import Session

from db.rating.queues import NewItem
from db.rating.ratings import OK, PREFERENCE, Scope, Target
from serving.formats.library import Registry
from training.datasets.build import Built, build_from, gather
from training.datasets.evidence import Judgement, Won
from training.datasets.rules import Rules, parse_rules
from workbench.rating.queues import BuiltQueue
from workbench.stats.mixed_effects import USUAL_DEVIATION

N_DRAWS: Final = 4
SEED: Final = 20
MAX_ITEMS: Final = 2_000
"""Cards whose outcomes are drawn; the others are taken to give as many rows."""
_NEEDS: Final[Mapping[Scope, str]] = {
    "reasoning": "reasoning",
    "answer": "answer",
    "whole": "both",
    "question": "both",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How judgements end, as shares of all; ``is_counted``: of those in this store."""

    good: float
    """Comparisons with a winner, or texts that are OK."""
    tie: float
    """Comparisons that are even; the rest says that both are bad."""
    is_counted: bool


def training_rows(
    session: Session, built: BuiltQueue, shares: Shares, registry: Registry
) -> dict[str, int]:
    """Return how many rows to train on each kind of dataset gains, on average over draws.

    Pairs give ``dpo`` and, by those that were chosen, ``sft``; other cards ``kto`` and, by OK,
    ``sft``. What is to be learned in ``sft`` is what is rated.
    """
    items = built.items[:MAX_ITEMS]
    if built.spec.scope == "question" or not items:
        return {}
    roles = [name.rpartition("@")[0] for name in registry.roles]
    all_rules = _rules(built, sorted({item.target.question_id for item in items}), roles)
    material = gather(session, all_rules[0], registry)
    random = np.random.default_rng(SEED)
    draws = [list(_drawn(built, items, shares, random)) for _ in range(N_DRAWS)]
    gained: dict[str, int] = {}
    for rules in all_rules:

        def rows(expected: Sequence[Judgement], rules: Rules = rules) -> int:
            return _train(build_from(session, material, rules, registry, expected))

        now = rows(())
        more = float(np.mean([rows(expected) for expected in draws])) - now
        gained[rules.kind] = max(0, round(more * len(built.items) / len(items)))
    return gained


def _train(built: Built) -> int:
    return built.counts.rows["train"]


def _rules(built: BuiltQueue, question_ids: Sequence[int], roles: Sequence[str]) -> list[Rules]:
    compares = built.spec.way == "pair"
    common = {"name": "forecast", "questions": {"ids": list(question_ids)}}
    needs = _NEEDS[built.spec.scope]
    good = {"chosen" if compares else "ok": True, "needs": needs}
    learned = {"reasoning": "reasoning", "answer": "response"}.get(needs, "both")
    targets = dict.fromkeys(roles, learned)
    return [
        parse_rules({**common, "kind": "dpo" if compares else "kto"}),
        parse_rules({**common, "kind": "sft", "take": good, "targets": targets}),
    ]


def _drawn(
    built: BuiltQueue, items: Sequence[NewItem], shares: Shares, random: np.random.Generator
) -> Iterator[Judgement]:
    """Yield what raters may say of the cards, each card as often as the queue asks for."""
    numbers = count(1)
    strengths: dict[int, float] = {}

    def strength(target: Target) -> float:
        text = _text(built.spec.scope, target)
        return strengths.setdefault(text, float(random.normal(0, USUAL_DEVIATION * 2**0.5)))

    for item in items:
        for rater in range(built.spec.overlap):
            value, outcome = None, None
            if item.other is None:
                value = float(random.random() < shares.good)
            else:
                outcome = _outcome(strength(item.target) - strength(item.other), shares, random)
            yield Judgement(
                rating_id=-next(numbers),
                rater_id=-1 - rater,
                scope=built.spec.scope,  # type: ignore[arg-type]  # questions never come here
                question_id=item.target.question_id,
                variant_id=item.target.variant_id,
                answer_id=item.target.answer_id,
                other_variant_id=item.other.variant_id if item.other else None,
                other_answer_id=item.other.answer_id if item.other else None,
                axis=PREFERENCE if item.other else OK,
                value=value,
                outcome=outcome,
            )


def _outcome(lead: float, shares: Shares, random: np.random.Generator) -> Won:
    drawn = random.random()
    if drawn < shares.good:
        return "a" if random.random() < expit(lead) else "b"
    return "tie" if drawn < shares.good + shares.tie else "both_bad"


def _text(scope: Scope, target: Target) -> int:
    text = target.variant_id if scope == "reasoning" else target.answer_id
    assert text is not None
    return text
