"""What a spec comes to: which slots, how many requests, how long, before anything runs.

Slots are counted, never listed: a plan of a million slots takes about a second.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError
from db.identity import text_hash
from db.jobs import enqueue_sweep
from db.models import ModelRow
from db.search import index_texts
from db.sweeps import create_sweep
from db.tables import Question, ReasoningVariant
from db.texts.rows import require_questions
from serving.engine.messages import SamplingParameters
from serving.formats.definitions import Task
from serving.formats.library import Registry
from serving.formats.render import task_templates
from serving.sweeps.forecast import (
    check_no_slot_twice,
    count_done,
    history_of,
    offered_by,
)
from serving.sweeps.limits import check_against_limits
from serving.sweeps.selection import (
    ChosenReasonings,
    select_models,
    select_questions,
    select_reasonings,
    select_writers,
)
from serving.sweeps.slots import (
    TASK_OF_MODE,
    WRITING,
    Kind,
    ResolvedPlan,
    SlotCounts,
    answering_levels,
    count_slots,
)
from serving.sweeps.spec import FROM_EXISTING, OWN_ROLE, Ask, Mode, SweepSpec, asks_as_json


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """A spec, what its names stand for, and what it will take."""

    spec: SweepSpec
    resolved: ResolvedPlan
    new_reasonings: Mapping[int, Sequence[str]]
    """Question → reasonings of a file, stored with the sweep."""
    n_questions: int
    n_reasoning_slots: int
    n_answer_slots: int
    requests: int
    """Prompts to be sent, where a request carries all completions of one prompt."""
    expected_tokens: int
    is_upper_bound: bool
    """True where some model has no past to tell how long its texts are."""
    expected_s: float | None
    """None where some model has no past to tell its speed."""
    already_done: int | None
    """Slots that past sweeps have sampled; None where counting them would take long."""
    warnings: tuple[str, ...]
    """What is left out or cannot be varied, and why."""
    servers: Mapping[str, tuple[str, ...]]
    """Model → the servers that offer it now; several share its slots."""

    @property
    def cells(self) -> int:
        """All slots."""
        return self.n_reasoning_slots + self.n_answer_slots

    def as_json(self) -> dict[str, object]:
        """Return the figures as JSON values."""
        return {
            "name": self.spec.name,
            "questions": self.n_questions,
            "cells": self.cells,
            "reasoning_slots": self.n_reasoning_slots,
            "answer_slots": self.n_answer_slots,
            "requests": self.requests,
            "expected_tokens": self.expected_tokens,
            "expected_tokens_is_upper_bound": self.is_upper_bound,
            "expected_seconds": self.expected_s,
            "already_done": self.already_done,
            "warnings": list(self.warnings),
            "servers": {model: list(names) for model, names in self.servers.items()},
        }


def plan_sweep(session: Session, spec: SweepSpec, registry: Registry) -> SweepPlan:
    """Return what ``spec`` comes to in this store; writes nothing.

    Raises:
        UsageError: The spec names something that is not there, or there is nothing to do.
    """
    roles = {reference.rpartition("@")[0] for reference in registry.roles}
    question_ids = select_questions(session, spec.questions, roles)
    if not question_ids:
        require_questions(session)
        raise UsageError("No question fits the conditions under questions; loosen them.")
    models = select_writers(session, spec)
    chosen = ChosenReasonings()
    if spec.reasonings is not None:
        chosen = select_reasonings(session, spec.reasonings, question_ids, roles)
    facts = _question_facts(session, question_ids)
    resolved = _resolve(spec, registry, question_ids, facts, models, chosen)
    check_no_slot_twice(session, resolved)
    counts = count_slots(resolved)
    warnings = _warnings(spec, facts, chosen) + check_against_limits(
        session, resolved, max_cost=spec.max_cost
    )
    if counts.cells == 0:
        raise UsageError("There is nothing to run. {warnings}", warnings=" ".join(warnings))
    expected = _expect(session, resolved, counts)
    return SweepPlan(
        spec=spec,
        resolved=resolved,
        new_reasonings=chosen.new,
        n_questions=len(question_ids),
        n_reasoning_slots=counts.reasoning_slots,
        n_answer_slots=counts.answer_slots,
        requests=counts.reasoning_prompts + counts.answer_prompts,
        expected_tokens=expected.tokens,
        is_upper_bound=expected.is_upper_bound,
        expected_s=expected.seconds,
        already_done=count_done(session, resolved),
        warnings=tuple(warnings),
        servers=offered_by(session, resolved),
    )


def save_sweep(session: Session, plan: SweepPlan, *, purpose: str = "sweep") -> int:
    """Write a planned sweep, with the reasonings of its file, and return its id."""
    stored = _store_reasonings(session, plan.new_reasonings)
    chosen = {
        question_id: (
            *plan.resolved.chosen.get(question_id, ()),
            *stored.get(question_id, ()),
        )
        for question_id in {**plan.resolved.chosen, **stored}
    }
    resolved = plan.resolved.model_copy(update={"chosen": chosen})
    return create_sweep(
        session,
        name=plan.spec.name,
        spec=plan.spec.model_dump(mode="json"),
        plan=resolved.model_dump(mode="json"),
        n_reasoning_slots=plan.n_reasoning_slots,
        n_answer_slots=plan.n_answer_slots,
        purpose=purpose,
    )


def queue_sweep(
    session: Session,
    spec: SweepSpec,
    registry: Registry,
    *,
    purpose: str = "sweep",
    priority: int = 0,
    payload: Mapping[str, object] | None = None,
) -> tuple[int, int]:
    """Plan and write a sweep, and a job that runs it; return the ids of both.

    Raises:
        UsageError: A name in the spec stands for nothing, or it leaves nothing to do.
    """
    sweep_id = save_sweep(session, plan_sweep(session, spec, registry), purpose=purpose)
    return sweep_id, enqueue_sweep(session, sweep_id, priority=priority, payload=payload)


def _store_reasonings(
    session: Session, reasonings: Mapping[int, Sequence[str]]
) -> dict[int, list[int]]:
    variants = [
        ReasoningVariant(
            question_id=question_id, text=text, source="imported", content_hash=text_hash(text)
        )
        for question_id, texts in reasonings.items()
        for text in texts
    ]
    session.add_all(variants)
    session.flush()
    index_texts(session, "variant", [(variant.id, variant.text) for variant in variants])
    stored: dict[int, list[int]] = {}
    for variant in variants:
        stored.setdefault(variant.question_id, []).append(variant.id)
    return stored


@dataclass(frozen=True, slots=True)
class _QuestionFact:
    role: str
    has_reference: bool


def _question_facts(session: Session, question_ids: Sequence[int]) -> dict[int, _QuestionFact]:
    facts: dict[int, _QuestionFact] = {}
    for part in chunks(question_ids):
        rows = session.execute(
            select(Question.id, Question.role, Question.reference_answer.is_not(None)).where(
                Question.id.in_(part)
            )
        )
        facts.update((row[0], _QuestionFact(row[1], bool(row[2]))) for row in rows)
    return facts


def _resolve(
    spec: SweepSpec,
    registry: Registry,
    question_ids: Sequence[int],
    facts: Mapping[int, _QuestionFact],
    models: tuple[list[ModelRow], list[ModelRow] | None],
    chosen: ChosenReasonings,
) -> ResolvedPlan:
    writers, answerers = models
    by_role = Counter(fact.role for fact in facts.values())
    return ResolvedPlan(
        question_ids=tuple(question_ids),
        formats={mode: _formats(spec, registry, mode) for mode in spec.modes},
        roles={role: _roles(spec, registry, role) for role in by_role},
        questions_by_role=dict(by_role),
        answerable_by_role=dict(Counter(one.role for one in facts.values() if one.has_reference)),
        unanswerable_ids=tuple(
            one
            for one in question_ids
            if "rationalise" in spec.modes and not facts[one].has_reference
        ),
        model_ids=tuple(model.id for model in writers),
        answer_model_ids=None if answerers is None else tuple(model.id for model in answerers),
        reasoning_sampling=_seeded(spec, "reasoning_sampling"),
        answer_sampling=_seeded(spec, "answer_sampling"),
        variants=spec.variants,
        answers=0 if spec.one_pass else spec.answers,
        one_pass=spec.one_pass,
        chosen={question_id: tuple(ids) for question_id, ids in chosen.stored.items()},
        chosen_by_role=_chosen_by_role(question_ids, facts, chosen),
    )


def _formats(spec: SweepSpec, registry: Registry, mode: Mode) -> tuple[int, ...]:
    """Return the formats of ``mode``; each must have the tasks that the mode needs."""
    formats = [registry.format(name) for name in spec.formats]
    if len({stored.id for stored in formats}) < len(formats):
        raise UsageError(
            "formats names one format twice: {formats}.", formats=", ".join(spec.formats)
        )
    tasks: set[Task] = {"whole" if spec.one_pass else TASK_OF_MODE[mode]}
    if mode in WRITING and spec.answers and not spec.one_pass:
        tasks.add("answer")
    for stored in formats:
        for task in tasks:
            task_templates(stored.definition, task)
    return tuple(stored.id for stored in formats)


def _roles(spec: SweepSpec, registry: Registry, own: str) -> tuple[int, ...]:
    """Return the roles to try with questions of the role ``own``, each once."""
    named = (registry.role(own if name == OWN_ROLE else name) for name in spec.roles)
    return tuple(dict.fromkeys(role.id for role in named))


def _seeded(spec: SweepSpec, key: str) -> object:
    return tuple(level.model_copy(update={"seed": spec.seed}) for level in getattr(spec, key))


def _chosen_by_role(
    question_ids: Sequence[int], facts: Mapping[int, _QuestionFact], chosen: ChosenReasonings
) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for question_id in question_ids:
        if n := chosen.count(question_id):
            variants, pairs = counts.get(facts[question_id].role, (0, 0))
            counts[facts[question_id].role] = (variants + n, pairs + n * (n - 1) // 2)
    return counts


def _warnings(
    spec: SweepSpec, facts: Mapping[int, _QuestionFact], chosen: ChosenReasonings
) -> list[str]:
    warnings = []
    if "rationalise" in spec.modes:
        missing = sum(not fact.has_reference for fact in facts.values())
        if missing:
            warnings.append(
                f"rationalise leaves out {missing:,} of {len(facts):,} questions: they have no"
                " reference answer."
            )
    for mode in spec.modes:
        if mode in FROM_EXISTING:
            least = 2 if mode == "ensemble" else 1
            missing = sum(chosen.count(question_id) < least for question_id in facts)
            if missing:
                what = "no two" if least == 2 else "none"
                warnings.append(
                    f"{mode} leaves out {missing:,} of {len(facts):,} questions: they have {what}"
                    " of the reasonings asked for."
                )
    return warnings


@dataclass(frozen=True, slots=True)
class _Expected:
    tokens: int
    is_upper_bound: bool
    seconds: float | None


def _expect(session: Session, plan: ResolvedPlan, counts: SlotCounts) -> _Expected:
    """Add up tokens and time; slots spread evenly over models and sampling levels."""
    tokens, seconds, is_bound, is_timed = 0.0, 0.0, False, True
    parts: list[tuple[Kind, int, list[tuple[int, int]]]] = [
        (
            "whole" if plan.one_pass else "reasoning",
            counts.reasoning_slots,
            [(m, s.max_tokens) for m in plan.model_ids for s in plan.reasoning_sampling],
        ),
        (
            "answer",
            counts.answer_slots,
            [(a.model_id, a.sampling.max_tokens) for a in answering_levels(plan, None)],
        ),
    ]
    histories = {model: history_of(session, model) for _, _, ls in parts for model, _ in ls}
    for kind, n_slots, levels in parts:
        for model_id, max_tokens in levels if n_slots else ():
            history = histories[model_id]
            each, is_upper = history.expect(kind, max_tokens)
            expected = each * n_slots / len(levels)
            tokens += expected
            is_bound |= is_upper
            if history.tokens_per_second is None:
                is_timed = False
            else:
                seconds += expected / history.tokens_per_second
    return _Expected(round(tokens), is_bound, seconds if is_timed else None)


def save_asks(
    session: Session,
    registry: Registry,
    asks: Sequence[Ask],
    *,
    model: str,
    name: str,
    purpose: str = "turn",
) -> int:
    """Write a sweep that has ``model`` write ``asks``; return its id.

    Raises:
        UsageError: There is nothing to ask, a question is gone, or the model cannot be used.
    """
    if not asks:
        raise UsageError("There is nothing to ask for; name at least one move.")
    ids = list(dict.fromkeys(ask.question_id for ask in asks))
    found = session.execute(select(Question.id, Question.role).where(Question.id.in_(ids)))
    roles = dict(found.all())
    missing = [one for one in ids if one not in roles]
    if missing:
        raise UsageError("There is no question q{missing}.", missing=missing[0])
    models = select_models(session, [model], "model")
    plan = ResolvedPlan(
        question_ids=tuple(ids),
        formats={},
        roles={role: (registry.role(role).id,) for role in set(roles.values())},
        questions_by_role=dict(Counter(roles.values())),
        answerable_by_role={},
        model_ids=tuple(one.id for one in models),
        answer_model_ids=None,
        reasoning_sampling=(SamplingParameters(),),
        answer_sampling=(SamplingParameters(),),
        variants=1,
        answers=0,
        chosen={},
        chosen_by_role={},
        asks=tuple(asks),
    )
    return create_sweep(
        session,
        name=name,
        spec={"name": name, "models": [model], "asks": asks_as_json(asks)},
        plan=plan.model_dump(mode="json"),
        n_reasoning_slots=0,
        n_answer_slots=count_slots(plan).answer_slots,
        purpose=purpose,
    )
