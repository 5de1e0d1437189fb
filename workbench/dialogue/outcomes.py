"""What became of questions, and what that is called: alike on pages, in reports and in exports.

The words themselves are in ``report_words.yaml``, under ``called``; see ``called_words``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.orm import Session

from db.dialogues import EventRow, read_events, read_nodes
from db.input_text import load_yaml, read_text
from db.questions import get_questions
from serving.similarity.wording import wording

WORDS = Path(__file__).with_name("report_words.yaml")
EDITED_FROM = 0.5
"""Share of the words of a proposal and of what was made of it that are in both: with less, a person
wrote a question of their own in its place."""

Taken = Literal["taken", "edited", "own"]
"""As proposed; a proposal with words changed; in the person's own words."""
Came = Literal["first", "taken", "edited", "own", "imported"]
"""How a question of the tree came to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a proposal that somebody decided on."""

    called: Literal["taken", "edited", "own", "parked", "rejected", "merged"]
    reason: str | None
    text: str | None
    """The question that it became, where that has other words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeContext:
    """What the outcomes of proposals depend on beside the decisions at their own node."""

    texts: Mapping[int, str]
    """Questions that were picked, by id."""
    states: Mapping[int, str]
    """Of the nodes of the dialogue."""
    aside: Mapping[int, EventRow]
    """Node → the last time that it was parked or rejected in the tree itself."""


def read_outcome_context(session: Session, dialogue_id: int) -> OutcomeContext:
    """Return what the outcomes of a dialogue's proposals depend on, in three queries."""
    events = read_events(session, dialogue_id, kinds=("pick", "park", "reject"))
    picked = {one.question_id for one in events if one.kind == "pick"}
    ids = [one for one in picked if one is not None]
    return OutcomeContext(
        texts={question.id: question.text for question in get_questions(session, ids)},
        states={node.id: node.state for node in read_nodes(session, dialogue_id)},
        aside=set_aside(events),
    )


def set_aside(events: Sequence[EventRow]) -> dict[int, EventRow]:
    """Return the last event that parked or rejected a question of the tree itself, by node."""
    return {
        one.node_id: one
        for one in events
        if one.kind in ("park", "reject") and one.payload.get("node") == one.node_id is not None
    }


def how_taken(proposed: str, text: str) -> Taken:
    """Return what it is called that ``proposed`` became the question ``text``."""
    if " ".join(proposed.split()) == " ".join(text.split()):
        return "taken"
    before, after = set(wording(proposed).terms), set(wording(text).terms)
    n_both = 2 * len(before & after)
    return "edited" if n_both >= EDITED_FROM * (len(before) + len(after)) else "own"


def outcome_of(decision: EventRow, context: OutcomeContext) -> Outcome:
    """Return what became of a proposal by the last decision on it, and in the tree after that."""
    payload = decision.payload
    if decision.kind == "reject":
        return Outcome(called="rejected", reason=decision.reason, text=None)
    if decision.kind == "merge":
        return Outcome(called="merged", reason=decision.reason, text=None)
    node_id = payload["to"] if decision.kind == "pick" else payload["node"]
    state = context.states.get(node_id)
    if state in ("parked", "rejected"):
        later = context.aside.get(node_id, decision)
        called: Literal["parked", "rejected"] = "parked" if state == "parked" else "rejected"
        return Outcome(called=called, reason=later.reason, text=None)
    if decision.kind == "park":  # and taken up again
        return Outcome(called="taken", reason=decision.reason, text=None)
    proposed = payload["proposed"]
    text = context.texts.get(decision.question_id or 0, proposed)
    taken = how_taken(proposed, text)
    other = None if taken == "taken" else text
    return Outcome(called=taken, reason=decision.reason, text=other)


def how_it_came(origin: EventRow | None, text: str, source: str) -> Came:
    """Return how a question of the tree came to be.

    Args:
        origin: The event that made it; None for the first question of a dialogue.
        text: The question.
        source: Of the question in the store.
    """
    if origin is None:
        return "imported" if source == "imported" else "first"
    if origin.kind == "import" or origin.payload.get("imported"):
        return "imported"
    if origin.kind == "write":
        return "own"
    return how_taken(origin.payload.get("proposed", text), text)


def called_words(language: str) -> Mapping[str, str]:
    """Return the words for all of this, in ``language`` or else in English."""
    words: Mapping[str, str] = words_of_reports(language)["called"]
    return words


def words_of_reports(language: str) -> Mapping[str, Any]:
    """Return the words of reports, in ``language`` or else in English."""
    return _all_words().get(language) or _all_words()["en"]


@cache
def _all_words() -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = load_yaml(read_text(WORDS), where=str(WORDS))
    return found
