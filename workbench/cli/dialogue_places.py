"""What the numbers and letters given to ``q2q dialogue`` stand for in the store."""

from sqlalchemy.orm import Session

from db.dialogues import get_dialogue, read_events, read_nodes
from db.errors import UsageError
from workbench.dialogue.cards import AnswerCard, Candidate, NodeView
from workbench.dialogue.decisions import current_node_id


def here(session: Session, dialogue_id: int) -> int:
    """Return the node that the person is at.

    Raises:
        UsageError: There is no such dialogue.
    """
    get_dialogue(session, dialogue_id)
    node_id = current_node_id(read_events(session, dialogue_id))
    if node_id is None:
        raise UsageError(f"The dialogue {dialogue_id} has no question.")
    return node_id


def node_of(session: Session, dialogue_id: int, number: int) -> int:
    """Return the id of the question that a report or a list numbers so.

    Raises:
        UsageError: There is none.
    """
    get_dialogue(session, dialogue_id)
    for node in read_nodes(session, dialogue_id):
        if node.position + 1 == number:
            return node.id
    raise UsageError(f"The dialogue {dialogue_id} has no question {number}.")


def answer_place(given: str) -> int:
    """Return the place, from 0, that a letter or a number means.

    Raises:
        UsageError: It is neither.
    """
    letter = given.strip().upper()
    if len(letter) == 1 and "A" <= letter <= "Z":
        return ord(letter) - ord("A")
    if letter.isascii() and letter.isdigit() and int(letter[:5]) > 0 and len(letter) < 5:
        return int(letter) - 1
    raise UsageError(f"There is no answer {given!r}: give its letter, from A on, or its number.")


def card(view: NodeView, given: str) -> AnswerCard:
    """Return the card that a letter or a number means; the folded ones follow the shown ones.

    Raises:
        UsageError: There is none.
    """
    cards = [*view.shown, *view.folded]
    if not cards:
        raise UsageError("There is no answer here yet: `q2q dialogue next` brings some.")
    place = answer_place(given)
    if place >= len(cards):
        raise UsageError(f"There is no answer {given!r}; there are {len(cards)}, from A on.")
    return cards[place]


def candidate(view: NodeView, given: str) -> Candidate:
    """Return the proposed question that a number means; the folded ones follow the shown ones.

    Raises:
        UsageError: There is none.
    """
    if not view.candidates:
        raise UsageError("No question is proposed here yet: `q2q dialogue next` brings some.")
    digits = given.strip()
    place = int(digits) - 1 if digits.isascii() and digits.isdigit() and len(digits) < 5 else -1
    if not 0 <= place < len(view.candidates):
        raise UsageError(f"There is no question {given!r}; there are {len(view.candidates)}.")
    return view.candidates[place]
