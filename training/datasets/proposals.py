"""What people made of proposed next questions, read from the events of dialogues.

One proposal is one asking by one move: what the model was told, word by word, and which questions
people took, rejected or passed over. What was chosen automatically teaches nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import Answer, DialogueEvent, DialogueNode, Question, ReasoningVariant, Sweep

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
            for told, given in zip(ask.payload["asks"], self._given(ask), strict=True):
                yield from self._proposal(ask, shown, (told["move"], given), [*decided, *written])

    def _given(self, ask: DialogueEvent) -> list[Mapping[str, str]]:
        """Return what the model was told for each move, as it was sent."""
        plan = self._session.scalar(select(Sweep.plan).where(Sweep.id == ask.payload["sweep_id"]))
        return [one["given"] for one in (plan or {}).get("asks", ())]

    def _proposal(
        self,
        ask: DialogueEvent,
        shown: DialogueEvent,
        told: tuple[str, Mapping[str, str]],
        decided: Sequence[DialogueEvent],
    ) -> Iterator[Proposal]:
        name, given = told
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
