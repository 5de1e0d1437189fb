"""Cards of two models of a round: what both wrote in one pass for the same held-out question.

Greedy outputs come first, since these are what a user of the models meets; then the sampled ones,
each with the one of the same number. A card tells nothing of the models: which of them stands left
is dealt by lot, and stored. Where most outputs lack an answer, as those of small models that leave
out the tag between the two, the reasonings are compared.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.models import get_model
from db.rating.queues import NewItem
from db.rating.ratings import Scope, Target
from db.rounds import RoundRow, find_round
from db.tables import (
    Answer,
    Generation,
    Question,
    ReasoningVariant,
    Sampling,
    SweepGeneration,
)
from workbench.rating.sources import QueueSpec

_Output = Row[Any]
COMPARED = ("compare", "ended")
"""Steps of a round whose held-out questions have been answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadToHeadCards:
    """The cards of each question, the first ones to be met first."""

    by_question: tuple[tuple[NewItem, ...], ...]
    left_out: dict[str, int]
    """Reason → outputs of a question that make no card: ``not_held_out``, ``not_whole`` (one of the
    two is no reasoning with an answer; no reasoning, where these are compared), ``same_words``."""
    n_questions: int
    """Questions that both models were asked."""


def head_to_head_spec(session: Session, reference: str | int, against: str = "") -> QueueSpec:
    """Return the wish for blind cards of a round's model against another model of its comparison.

    Args:
        session: Of the store.
        reference: Name or number of the round.
        against: Name of an earlier round or of a model; empty: the model that it starts from.

    Raises:
        UsageError: The round has asked nothing yet, or the other model was not asked with it.
    """
    found = find_round(session, reference)
    if found.sweep_id is None or found.step not in COMPARED:
        raise UsageError(
            "Round {found_name!r} is at the step {step}; its texts can be compared blind"
            " once the held-out questions have been answered.",
            found_name=found.name,
            step=found.step,
        )
    other = _opponent(session, found, against)
    name = f"{found.name} · {against or get_model(session, other).name}"
    return QueueSpec(
        name=name[:200],
        way="pair",
        scope=_scope_of(session, found, other),
        round=found.id,
        against=other,
        leave_out=(),
    )


def _scope_of(session: Session, found: RoundRow, other: int) -> Scope:
    """Return what is compared: outputs as a whole, or reasonings where few have answers both."""
    lacking = [None in _answers(met) for met in _meetings(session, found, other)]
    return "reasoning" if 2 * sum(lacking) > len(lacking) else "whole"


def opponents(session: Session, found: RoundRow) -> dict[int, str]:
    """Return the models that were asked beside the round's own, the one it starts from first."""
    asked = session.scalars(
        select(Generation.model_version_id)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == found.sweep_id)
        .distinct()
    )
    ids = sorted(set(asked) - {found.merged_model_version_id})
    ids.sort(key=lambda one: one != found.starts_from_id)
    return {one: get_model(session, one).name for one in ids}


def head_to_head_cards(session: Session, spec: QueueSpec) -> HeadToHeadCards:
    """Return the cards that ``spec`` (of a round) asks for.

    Raises:
        UsageError: There is no such round, or it has no model.
    """
    assert spec.round is not None
    found = find_round(session, spec.round)
    other = spec.against or found.starts_from_id
    if found.sweep_id is None or found.merged_model_version_id is None:
        raise UsageError(
            "Round {found_name!r} has no model whose texts could be compared.",
            found_name=found.name,
        )
    left_out: Counter[str] = Counter()
    cards: defaultdict[int, list[NewItem]] = defaultdict(list)
    questions = set()
    for met in _meetings(session, found, other):
        question_id = met[0].question_id
        questions.add(question_id)
        reason = _why_not(met, spec.scope)
        if reason is not None:
            left_out[reason] += 1
        else:
            target, against = (_target(one, spec.scope) for one in met)
            cards[question_id].append(NewItem(target=target, other=against))
    return HeadToHeadCards(
        by_question=tuple(tuple(own_cards) for own_cards in cards.values()),
        left_out=dict(left_out),
        n_questions=len(questions),
    )


def _opponent(session: Session, found: RoundRow, against: str) -> int:
    known = opponents(session, found)
    if not against:
        return found.starts_from_id
    by_name = {name: one for one, name in known.items()}
    if against not in by_name:
        named = find_round(session, against).merged_model_version_id
        if named not in known:
            raise UsageError(
                "Round {found_name!r} was not compared with {against!r}; it was with"
                " {by_name}. Name it under compare.rounds of a round.",
                found_name=found.name,
                against=against,
                by_name=", ".join(by_name),
            )
        return named
    return by_name[against]


def _meetings(session: Session, found: RoundRow, other: int) -> Iterator[tuple[_Output, _Output]]:
    """Yield what the round's model and another wrote for the same slot, greedy outputs first."""
    own = found.merged_model_version_id
    if own is None:
        return
    rows = session.execute(
        select(
            Generation.question_id,
            Generation.model_version_id,
            Generation.prompt_format_id,
            Generation.role_id,
            Generation.sampling_id,
            Generation.replicate,
            Sampling.parameters,
            Question.held_out,
            Answer.id.label("answer_id"),
            ReasoningVariant.id.label("variant_id"),
            Answer.content_hash,
            ReasoningVariant.content_hash.label("variant_hash"),
        )
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .join(Sampling, Sampling.id == Generation.sampling_id)
        .join(Question, Question.id == Generation.question_id)
        .outerjoin(Answer, Answer.generation_id == Generation.id)
        .outerjoin(ReasoningVariant, ReasoningVariant.generation_id == Generation.id)
        .where(
            SweepGeneration.sweep_id == found.sweep_id,
            Generation.kind == "whole",
            Generation.ok,
            Generation.model_version_id.in_((own, other)),
        )
        .order_by(Generation.replicate, Generation.id)
    ).all()
    slots: defaultdict[tuple[object, ...], dict[int, _Output]] = defaultdict(dict)
    for row in rows:
        is_greedy = row.parameters.get("temperature") == 0
        replicate = 0 if is_greedy else row.replicate
        slot = (
            not is_greedy,
            replicate,
            row.question_id,
            row.prompt_format_id,
            row.role_id,
            row.sampling_id,
        )
        slots[slot].setdefault(row.model_version_id, row)
    for _, met in sorted(slots.items(), key=lambda one: one[0][:2]):
        if len(met) == 2:
            yield met[own], met[other]


def _answers(met: tuple[_Output, _Output]) -> tuple[int | None, ...]:
    return tuple(one.answer_id for one in met)


def _why_not(met: tuple[_Output, _Output], scope: Scope) -> str | None:
    first, second = met
    if not first.held_out:
        return "not_held_out"
    is_whole = scope == "whole"
    if None in (first.variant_id, second.variant_id) or (is_whole and None in _answers(met)):
        return "not_whole"
    is_same = first.variant_hash == second.variant_hash and (
        not is_whole or first.content_hash == second.content_hash
    )
    return "same_words" if is_same else None


def _target(row: _Output, scope: Scope) -> Target:
    answer_id = row.answer_id if scope == "whole" else None
    return Target(question_id=row.question_id, variant_id=row.variant_id, answer_id=answer_id)
