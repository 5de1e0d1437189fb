"""One node to work at: its question, the cards of answers, the candidates, what is under way."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import EventRow, NodeRow, get_node, read_events
from db.jobs import JobRow, get_job
from db.questions import QuestionRow, get_question
from db.tables import DialogueNode, Question
from db.texts.rows import TextRow, read_texts
from workbench.dialogue.events import open_steps
from workbench.dialogue.outcomes import Outcome, OutcomeContext, outcome_of, read_outcome_context

How = Literal["asked", "rejected", "proposed"]
"""A question of the tree; a proposal that was rejected, or that lies on the table already."""


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of a dialogue."""

    node_id: int
    """Where it was asked, or proposed."""
    text: str
    how: How = "asked"


def earlier_questions(session: Session, dialogue_id: int) -> list[AskedQuestion]:
    """Return all questions of a dialogue, also parked and rejected ones, oldest first."""
    rows = session.execute(
        select(DialogueNode.id, Question.text)
        .join(Question, Question.id == DialogueNode.question_id)
        .where(DialogueNode.dialogue_id == dialogue_id)
        .order_by(DialogueNode.position)
    )
    return [AskedQuestion(*row) for row in rows]


def earlier_proposals(session: Session, dialogue_id: int, node_id: int) -> list[AskedQuestion]:
    """Return proposals of a dialogue that were rejected, and those that were shown at a node."""
    events = read_events(session, dialogue_id, kinds=("questions_shown", "reject"))
    found = [
        AskedQuestion(event.node_id, event.payload["text"], "rejected")
        for event in events
        if event.kind == "reject" and event.node_id is not None and "text" in event.payload
    ]
    for event in events:
        if event.kind == "questions_shown" and event.node_id == node_id:
            listed = event.payload["candidates"]
            shown = [listed[place]["text"] for place in event.payload["shown"]]
            found += [AskedQuestion(node_id, text, "proposed") for text in shown]
    return found


Folded = Literal["merged", "here", "language", "twin", "rejected", "proposed", "repeat", "rest"]
"""Why a candidate is folded away: another one stands for it; it is the question that one is at; it
is in another language; another one of its list, a rejected proposal, one that was shown here
before, or an earlier question asks the same; or there was no room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCard:
    """An answer with the reasoning that it was written under; says nothing of who wrote it."""

    answer: TextRow
    reasoning: TextRow | None
    side: Literal["goal", "opposing"] | None
    """The goal that it argues for, where it was asked to."""
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A next question that was proposed."""

    event_id: int
    place: int
    """Both together name it; see ``workbench.dialogue.decisions``."""
    text: str
    move: str
    is_shown: bool
    """False: folded away; see ``folded_because``."""
    is_repeat: bool
    nearest: str | None
    """The most similar earlier question, rejected proposal, or proposal that was shown here."""
    nearest_node_id: int | None
    nearest_is: How | None
    same_as: int | None
    """Place of the earlier candidate that it repeats."""
    similarity: float
    """With the nearest, 0 to 1."""
    goal_distance: float | None
    """0 to 1; None where it cannot be told."""
    opposing_distance: float | None
    towards: str | None
    """``goal``, ``opposing`` or ``both``."""
    decision: Literal["pick", "park", "reject", "merge"] | None
    """The last decision on it."""
    outcome: Outcome | None
    """What became of it; None where nobody decided."""
    merged_into: int | None
    """Place of the candidate that stands for it."""
    is_here: bool
    """It is the very question that one is at; it can be taken in other words only."""
    language: str | None
    """ISO 639-1 code of the language that it is in, where that is not the dialogue's."""

    @property
    def reason(self) -> str | None:
        """Why it became what it is."""
        return self.outcome.reason if self.outcome else None

    @property
    def called(self) -> str:
        """What became of it, as a name of ``workbench.dialogue.outcomes.called_words``."""
        if self.outcome is not None:
            return self.outcome.called
        why = self.folded_because or "rest"
        return {"rejected": "rejected_before", "proposed": "proposed_before"}.get(why, why)

    @property
    def folded_because(self) -> Folded | None:
        """Why it is folded away; None where it is shown."""
        if self.is_shown:
            return None
        reasons: tuple[tuple[Folded, bool], ...] = (
            ("merged", self.merged_into is not None),
            ("here", self.is_here),
            ("language", self.language is not None),
            ("twin", self.same_as is not None),
            ("rejected", self.is_repeat and self.nearest_is == "rejected"),
            ("proposed", self.is_repeat and self.nearest_is == "proposed"),
            ("repeat", self.is_repeat),
        )
        return next((reason for reason, holds in reasons if holds), "rest")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A step that a model works at."""

    event_id: int
    kind: str
    """Of the event that began it, e.g. ``answer`` or ``ask``."""
    job: JobRow


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """All that a page or a command shows of one node."""

    node: NodeRow
    question: QuestionRow
    shown: tuple[AnswerCard, ...]
    """Laid out, in the stored random order; the latest ones."""
    folded: tuple[AnswerCard, ...]
    chosen: AnswerCard | None
    candidates: tuple[Candidate, ...]
    """Of the latest asking, the shown ones first, in the stored order."""
    earlier_candidates: tuple[Candidate, ...]
    """Of askings before."""
    under_way: tuple[UnderWay, ...]
    problems: tuple[str, ...]
    """Of the latest answering and the latest asking, in sentences."""
    notes: tuple[str, ...]
    events: tuple[EventRow, ...]

    def is_under_way(self, kind: str) -> bool:
        """Tell whether a model works at a step of this kind here."""
        return any(one.kind == kind for one in self.under_way)

    @property
    def step(self) -> Literal["wait", "answer", "choose", "ask", "pick"]:
        """What comes next here."""
        if self.under_way:
            return "wait"
        if self.chosen is None:
            return "choose" if self.shown or self.folded else "answer"
        asked = [event for event in self.events if event.kind == "questions_shown"]
        current = [e for e in asked if e.payload["answer_id"] == self.chosen.answer.id]
        return "pick" if current and self.candidates else "ask"


_WRITTEN = (
    "text",
    "move",
    "language",
    "is_repeat",
    "nearest",
    "nearest_node_id",
    "nearest_is",
    "same_as",
    "similarity",
    "goal_distance",
    "opposing_distance",
    "towards",
)
"""What ``workbench.dialogue.finishing`` writes of a candidate."""


def node_view(session: Session, dialogue_id: int, node_id: int) -> NodeView:
    """Return one node with everything to work at, in a fixed number of queries.

    Raises:
        UsageError: There is no such node.
    """
    node = get_node(session, dialogue_id, node_id)
    events = read_events(session, dialogue_id, node_id=node_id)
    laid_out = [event for event in events if event.kind == "answers_shown"]
    asked = [event for event in events if event.kind == "questions_shown"]
    cards = {card.answer.id: card for card in answer_cards(session, events).get(node_id, ())}
    shown = [one for one in (laid_out[-1].payload["shown"] if laid_out else ()) if one in cards]
    chosen = next((card for card in cards.values() if card.is_chosen), None)
    context = read_outcome_context(session, dialogue_id)
    latest = candidates_of(asked[-1], events, context) if asked else ()
    return NodeView(
        node=node,
        question=get_question(session, node.question_id),
        shown=tuple(cards[one] for one in shown),
        folded=tuple(card for one, card in cards.items() if one not in shown),
        chosen=chosen,
        candidates=latest,
        earlier_candidates=tuple(
            candidate for event in asked[:-1] for candidate in candidates_of(event, events, context)
        ),
        under_way=steps_under_way(session, open_steps(events)),
        problems=tuple(p for e in (*laid_out[-1:], *asked[-1:]) for p in e.payload["problems"]),
        notes=tuple(e.payload["text"] for e in events if e.kind == "note"),
        events=tuple(events),
    )


def steps_under_way(session: Session, steps: Sequence[EventRow]) -> tuple[UnderWay, ...]:
    """Return steps that have not ended, each with its job."""
    return tuple(
        UnderWay(event_id=one.id, kind=one.kind, job=get_job(session, one.payload["job_id"]))
        for one in steps
    )


def answer_cards(
    session: Session, events: Sequence[EventRow]
) -> dict[int | None, list[AnswerCard]]:
    """Return the answers that were laid out or folded, by node, from the events of a dialogue."""
    by_node: defaultdict[int | None, dict[int, None]] = defaultdict(dict)
    for event in events:
        if event.kind == "answers_shown":
            by_node[event.node_id] |= dict.fromkeys(event.payload["shown"])
            by_node[event.node_id] |= dict.fromkeys(event.payload["folded"])
    answers = read_texts(session, "answer", [one for ids in by_node.values() for one in ids])
    variant_ids = [row.variant_id for row in answers.values() if row.variant_id is not None]
    reasonings = read_texts(session, "variant", variant_ids)
    sides = {e.variant_id: e.payload["side"] for e in events if e.payload.get("side")}
    chosen = {event.node_id: event.answer_id for event in events if event.kind == "choose"}
    return {
        node_id: [
            AnswerCard(
                answer=answers[one],
                reasoning=reasonings.get(answers[one].variant_id or 0),
                side=sides.get(answers[one].variant_id),
                is_chosen=one == chosen.get(node_id),
            )
            for one in ids
            if one in answers
        ]
        for node_id, ids in by_node.items()
    }


def candidates_of(
    asked: EventRow, events: Sequence[EventRow], context: OutcomeContext
) -> tuple[Candidate, ...]:
    """Return what an asking proposed and what became of it; ``events`` are those of its node."""
    shown: list[int] = list(asked.payload["shown"])
    listed = asked.payload["candidates"]
    order = [*shown, *(place for place in range(len(listed)) if place not in shown)]
    decided, merged = _decided(asked, events)
    return tuple(
        Candidate(
            event_id=asked.id,
            place=place,
            is_shown=place in shown and place not in merged,
            decision=decided[place].kind if place in decided else None,  # type: ignore[arg-type]  # see _decided
            outcome=outcome_of(decided[place], context) if place in decided else None,
            merged_into=merged.get(place),
            is_here=bool(listed[place].get("is_here")),
            **{name: listed[place].get(name) for name in _WRITTEN},
        )
        for place in order
    )


def _decided(
    asked: EventRow, events: Sequence[EventRow]
) -> tuple[dict[int, EventRow], dict[int, int]]:
    """Return the last decision on each candidate, and which candidate stands for others."""
    decided: dict[int, EventRow] = {}
    merged: dict[int, int] = {}
    for event in events:
        if event.payload.get("event") != asked.id:
            continue
        if event.kind in ("pick", "park", "reject"):
            decided[event.payload["place"]] = event
        elif event.kind == "merge":
            for place in event.payload["others"]:
                merged[place] = event.payload["keep"]
                decided[place] = event
    return decided, merged
