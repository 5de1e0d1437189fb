"""Texts that may become rows, what people made of proposed questions, and the rows of both.

One proposal is one asking by one move: what the model was told, word by word, and which questions
people took, rejected or passed over. What was chosen automatically teaches nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import (
    Answer,
    CheckFlag,
    DialogueEvent,
    DialogueNode,
    Generation,
    Question,
    ReasoningVariant,
    Role,
    Sweep,
    VariantParent,
)
from training.datasets.rows import Target

KINDS = ("ask", "questions_shown", "pick", "write", "reject", "park", "merge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One asking by one move, and what became of it."""

    question_id: int
    theme: str
    move: str
    answer: str
    """What the questions follow from."""
    language: str
    """Its name, as the model was told."""
    reasoning: str | None
    """What the answer was written under."""
    chosen: tuple[str, ...]
    chosen_ids: tuple[int, ...]
    """The questions of the store that they became."""
    rejected: tuple[str, ...]
    passed_over: tuple[str, ...]
    """Shown and not decided on, where another one was chosen."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """All proposals, and the questions that dialogues made."""

    proposals: tuple[Proposal, ...]
    made: frozenset[int]
    """Questions that came up in a dialogue, whoever chose them."""


def read_proposals(session: Session, question_ids: Collection[int]) -> Proposals:
    """Return the proposals at these questions that people chose or rejected something of."""
    events = session.scalars(
        select(DialogueEvent).where(DialogueEvent.kind.in_(KINDS)).order_by(DialogueEvent.id)
    ).all()
    by_node: defaultdict[int | None, list[DialogueEvent]] = defaultdict(list)
    for event in events:
        by_node[event.node_id].append(event)
    reader = _Reader(session)
    wanted = set(question_ids)
    found = [
        proposal
        for own in by_node.values()
        for proposal in reader.of_node(own)
        if proposal.question_id in wanted
    ]
    made = {event.question_id for event in events if event.kind in ("pick", "write", "park")}
    return Proposals(tuple(found), frozenset(one for one in made if one is not None))


class _Reader:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._states = dict(session.execute(select(DialogueNode.id, DialogueNode.state)).all())
        self._texts: dict[int, str] = {}

    def of_node(self, events: Sequence[DialogueEvent]) -> Iterator[Proposal]:
        """Yield the proposals of one node."""
        asked = [event for event in events if event.kind == "ask"]
        for place, ask in enumerate(asked):
            before = asked[place + 1].id if place + 1 < len(asked) else None
            shown = next((e for e in events if e.step_id == ask.id), None)
            if shown is None:
                continue
            later = [e for e in events if e.id > shown.id]
            written = [e for e in later if e.kind == "write" and (before is None or e.id < before)]
            decided = [e for e in later if e.payload.get("event") == shown.id]
            for proposal, given in zip(ask.payload["asks"], self._given(ask), strict=True):
                yield from self._proposal(
                    ask, shown, (proposal["move"], given), [*decided, *written]
                )

    def _given(self, ask: DialogueEvent) -> list[Mapping[str, str]]:
        """Return what the model was told for each move, as it was sent."""
        plan = self._session.scalar(select(Sweep.plan).where(Sweep.id == ask.payload["sweep_id"]))
        return [one["given"] for one in (plan or {}).get("asks", ())]

    def _proposal(
        self,
        ask: DialogueEvent,
        shown: DialogueEvent,
        proposal: tuple[str, Mapping[str, str]],
        decided: Sequence[DialogueEvent],
    ) -> Iterator[Proposal]:
        name, given = proposal
        own = [e for e in decided if e.payload.get("move") == name and not e.automatic]
        taken = [e for e in own if e.kind in ("pick", "write")]
        dropped = [e for e in taken if self._states.get(e.payload["to"]) == "rejected"]
        chosen = [e for e in taken if e not in dropped]
        rejected = [e.payload["text"] for e in own if e.kind == "reject" and "text" in e.payload]
        rejected += [self._text(e.question_id) for e in dropped]
        if not chosen and not rejected:
            return
        assert ask.question_id is not None
        yield Proposal(
            question_id=ask.question_id,
            theme=given["theme"],
            move=given["move"],
            answer=given["answer"],
            language=given["language"],
            reasoning=self._reasoning(ask.payload["answer_id"]),
            chosen=tuple(dict.fromkeys(self._text(e.question_id) for e in chosen)),
            chosen_ids=tuple(e.question_id for e in chosen if e.question_id is not None),
            rejected=tuple(dict.fromkeys(rejected)),
            passed_over=tuple(_passed_over(shown.payload, name, decided)) if chosen else (),
        )

    def _text(self, question_id: int | None) -> str:
        assert question_id is not None
        if question_id not in self._texts:
            query = select(Question.text).where(Question.id == question_id)
            self._texts[question_id] = self._session.execute(query).scalar_one()
        return self._texts[question_id]

    def _reasoning(self, answer_id: int) -> str | None:
        return self._session.scalar(
            select(ReasoningVariant.text)
            .join(Answer, Answer.variant_id == ReasoningVariant.id)
            .where(Answer.id == answer_id)
        )


def _passed_over(
    payload: Mapping[str, Any], move: str, decided: Sequence[DialogueEvent]
) -> Iterator[str]:
    touched = {e.payload["place"] for e in decided if "place" in e.payload}
    for event in decided:
        touched |= {event.payload.get("keep"), *event.payload.get("others", ())}
    for place in payload["shown"]:
        candidate = payload["candidates"][place]
        if candidate["move"] == move and place not in touched:
            yield candidate["text"]


class Variant(NamedTuple):
    """A reasoning without its words."""

    id: int
    question_id: int
    source: str
    role: str | None
    """The role that a model wrote it in; None: the question's own."""


class AnswerKey(NamedTuple):
    """An answer without its words."""

    id: int
    question_id: int
    variant_id: int | None
    parent_id: int | None
    source: str
    role: str | None


@dataclass(slots=True, kw_only=True)
class Candidate:
    """What a rule took and may become a row."""

    rule: str
    """The first rule that took it."""
    question_id: int
    target: Target
    variant_id: int | None = None
    answer_id: int | None = None
    rejected_variant_id: int | None = None
    rejected_answer_id: int | None = None
    next_question_id: int | None = None
    """The question to be asked, for rows from question to question."""
    proposal: Proposal | None = None
    """What a model was asked and people chose, for rows of next questions."""
    role: str | None = None
    label: bool | None = None
    score: float = 0.5
    rating_ids: frozenset[int] = frozenset()
    is_contradictory: bool = False
    is_flagged: bool = False
    """A rater put a flag on what is to be learned."""


@dataclass(slots=True)
class Pool:
    """The texts of the selected questions; controls, which are wrong on purpose, are not in it."""

    variants: dict[int, Variant] = field(default_factory=dict)
    answers: dict[int, AnswerKey] = field(default_factory=dict)
    variant_parents: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    variant_findings: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    answer_findings: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """What the checks found on each text."""

    def role_of(self, variant_id: int | None, answer_id: int | None) -> str | None:
        """Return the role that a row's texts were written in; None: the question's own."""
        answer = self.answers.get(answer_id) if answer_id is not None else None
        variant = self.variants.get(variant_id) if variant_id is not None else None
        return (answer.role if answer else None) or (variant.role if variant else None)

    def finding(
        self, variant_id: int | None, answer_id: int | None, names: Sequence[str]
    ) -> str | None:
        """Return the first of ``names`` that was found on one of these texts."""
        found = self.variant_findings.get(variant_id or 0, set()) | self.answer_findings.get(
            answer_id or 0, set()
        )
        return next((name for name in names if name in found), None)


def read_pool(session: Session, question_ids: Collection[int]) -> Pool:
    """Return the texts of these questions, with what the checks found on them."""
    wanted = set(question_ids)
    pool = Pool()
    for variant in _variants(session):
        if variant.question_id in wanted:
            pool.variants[variant.id] = variant
    for answer in _answers(session):
        under_control = answer.variant_id is not None and answer.variant_id not in pool.variants
        if answer.question_id in wanted and not under_control:
            pool.answers[answer.id] = answer
    links = select(VariantParent.variant_id, VariantParent.parent_id).order_by(
        VariantParent.variant_id, VariantParent.position
    )
    for variant_id, parent_id in session.execute(links):
        if variant_id in pool.variants and parent_id in pool.variants:
            pool.variant_parents[variant_id].append(parent_id)
    found = select(CheckFlag.variant_id, CheckFlag.answer_id, CheckFlag.name)
    for flagged_variant, flagged_answer, name in session.execute(found):
        if flagged_variant is not None:
            pool.variant_findings[flagged_variant].add(name)
        elif flagged_answer is not None:
            pool.answer_findings[flagged_answer].add(name)
    return pool


def _variants(session: Session) -> Iterator[Variant]:
    table = ReasoningVariant
    query = (
        select(table.id, table.question_id, table.source, Role.name)
        .outerjoin(Generation, Generation.id == table.generation_id)
        .outerjoin(Role, Role.id == Generation.role_id)
        .where(table.source != "control")
        .order_by(table.id)
    )
    return (Variant(*row) for row in session.execute(query))


def _answers(session: Session) -> Iterator[AnswerKey]:
    query = (
        select(
            Answer.id,
            Answer.question_id,
            Answer.variant_id,
            Answer.parent_id,
            Answer.source,
            Role.name,
        )
        .outerjoin(Generation, Generation.id == Answer.generation_id)
        .outerjoin(Role, Role.id == Generation.role_id)
        .order_by(Answer.id)
    )
    return (AnswerKey(*row) for row in session.execute(query))
