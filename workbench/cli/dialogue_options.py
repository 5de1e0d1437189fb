"""What the commands of ``q2q dialogue`` are given: numbers of dialogues and questions, names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import get_dialogue, read_nodes
from db.errors import UsageError
from db.input_text import load_yaml
from db.rating.ratings import ensure_rater
from db.settings import Settings
from db.tables import MOVES
from serving.formats.library import load_registry
from serving.sweeps.selection import DEFAULT_MODEL
from workbench.cli.progress import look_for_models
from workbench.dialogue.cards import AnswerCard, Candidate, NodeView
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import fork
from workbench.dialogue.settings import check_names, parse_settings

DialogueId = Annotated[str, typer.Argument(help="Number of a dialogue; see `q2q dialogue show`.")]
As = Annotated[str, typer.Option("--as", help="Your name, kept with every decision.")]
Reason = Annotated[str, typer.Option(help="Why, in one line; kept with the decision.")]


def number(given: str, what: str = "dialogue") -> int:
    """Return the number that a person gave.

    Raises:
        UsageError: It is none.
    """
    digits = given.strip().removeprefix("d" if what == "dialogue" else "#")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise UsageError(
            "{given!r} is no number of a {what}; `q2q dialogue show` tells them.",
            given=given[:40],
            what=what,
        )
    return int(digits)


def language_code(given: str) -> str:
    """Return the ISO 639-1 code that a person gave.

    Raises:
        UsageError: It is none.
    """
    code = given.strip().lower()
    if re.fullmatch("[a-z]{2}", code) is None:
        raise UsageError(
            "{given!r} is no language: give its ISO 639-1 code, e.g. ja.", given=given[:40]
        )
    return code


def node_of(session: Session, dialogue_id: int, number: int) -> int:
    """Return the id of the question that a report or a list numbers so.

    Raises:
        UsageError: There is none.
    """
    get_dialogue(session, dialogue_id)
    for node in read_nodes(session, dialogue_id):
        if node.position + 1 == number:
            return node.id
    raise UsageError(
        "The dialogue {dialogue_id} has no question {number}.",
        dialogue_id=dialogue_id,
        number=number,
    )


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
    raise UsageError(
        "There is no answer {given!r}: give its letter, from A on, or its number.", given=given
    )


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
        raise UsageError(
            "There is no answer {given!r}; there are {n_cards}, from A on.",
            given=given,
            n_cards=len(cards),
        )
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
        raise UsageError(
            "There is no question {given!r}; there are {n_candidates}.",
            given=given,
            n_candidates=len(view.candidates),
        )
    return view.candidates[place]


def check_settings(settings: Settings, database: Database, values: Mapping[str, Any]) -> None:
    """Refuse settings of a dialogue that are wrong, or name what is not there.

    Raises:
        UsageError: They are; remote servers have been asked for the model by then.
    """
    wanted = parse_settings(values)
    if wanted.model != DEFAULT_MODEL:
        look_for_models(settings, database, [wanted.model])
    with database.write() as session:
        check_names(session, load_registry(settings, session), wanted)


def make_fork(
    settings: Settings,
    database: Database,
    dialogue_id: int,
    number: int,
    changes: Mapping[str, Any],
    *,
    name: str,
    reason: str,
    rater: str,
) -> int:
    """Begin a dialogue of its own at a question; return its number."""
    if changes:
        with database.read() as session:
            before = get_dialogue(session, dialogue_id).settings
        check_settings(settings, database, {**before, **changes})
    with database.write() as session:
        by = By(rater_id=ensure_rater(session, rater))
        node_id = node_of(session, dialogue_id, number)
        return fork(
            session,
            dialogue_id,
            node_id,
            by,
            name=name or None,
            settings=changes,
            reason=reason or None,
        )


def parse_set(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the settings in ``NAME=VALUE`` pairs; values are YAML, e.g. ``moves=[rebut, gap]``.

    Raises:
        UsageError: One is no such pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UsageError(
                "{pair!r} is no setting: write NAME=VALUE, e.g. variants=4.", pair=pair
            )
        found[name] = load_yaml(value, where=f"{pair!r}: the value")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NextOptions:
    """The options of one ``next``."""

    answer: str = ""
    question: str = ""
    write: str = ""
    moves: tuple[str, ...] = ()
    reason: str = ""
    edit: str = ""
    hint: str = ""
    fact: str = ""
    source: str = ""
    more: bool = False
    auto: int = 0
    rater: str = "me"
    asks: bool = True
    """May ask on a terminal for what no option says."""


_OPTIONS = {"moves": "move"}
"""Name of a field → its option, where they differ."""
_ALONE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "auto": (
        "turns that run by themselves choose by themselves",
        ("answer", "question", "write", "edit", "hint", "fact", "source", "more", "reason"),
    ),
    "edit": (
        "you compare what the edited reasoning makes of the answer before you go on",
        ("hint", "fact", "source", "question", "write", "moves", "more", "reason"),
    ),
}
"""What an option would leave unread beside it, and why."""


def refuse_mixed(options: NextOptions) -> None:
    """Refuse options of which one would leave the other one unread, and moves that are none.

    Raises:
        UsageError: There are such, the sentence names both; or a move is not known.
    """
    for one, (why, others) in _ALONE.items():
        other = next((name for name in others if getattr(options, name)), None)
        if getattr(options, one) and other is not None:
            option = f"--{_OPTIONS.get(other, other)}"
            raise UsageError(
                "Give --{one} and {option} one after the other, not both at once: {why}.",
                one=one,
                option=option,
                why=why,
            )
    if options.source and not options.fact:
        raise UsageError("Give --fact beside --source: it says where that fact is from.")
    if options.write and not options.question and len(options.moves) > 1:
        raise UsageError("A question of your own has one move: give --move once beside --write.")
    for place, move in enumerate(options.moves):
        if move not in MOVES:
            raise UsageError(
                "There is no move {move!r}; known are {moves}.", move=move, moves=", ".join(MOVES)
            )
        if move in options.moves[:place]:
            raise UsageError("The move {move} is named twice; name each one once.", move=move)
