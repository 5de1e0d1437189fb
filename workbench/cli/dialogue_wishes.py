"""The options of one ``q2q dialogue next``, and which of them exclude each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.errors import UsageError
from db.tables import MOVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
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
"""Name of a wish → its option, where they differ."""
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


def refuse_mixed(wishes: Wishes) -> None:
    """Refuse options of which one would leave the other one unread, and moves that are none.

    Raises:
        UsageError: There are such, the sentence names both; or a move is not known.
    """
    for one, (why, others) in _ALONE.items():
        other = next((name for name in others if getattr(wishes, name)), None)
        if getattr(wishes, one) and other is not None:
            option = f"--{_OPTIONS.get(other, other)}"
            raise UsageError(
                f"Give --{one} and {option} one after the other, not both at once: {why}."
            )
    if wishes.source and not wishes.fact:
        raise UsageError("Give --fact beside --source: it says where that fact is from.")
    if wishes.write and not wishes.question and len(wishes.moves) > 1:
        raise UsageError("A question of your own has one move: give --move once beside --write.")
    for place, move in enumerate(wishes.moves):
        if move not in MOVES:
            raise UsageError(f"There is no move {move!r}; known are {', '.join(MOVES)}.")
        if move in wishes.moves[:place]:
            raise UsageError(f"The move {move} is named twice; name each one once.")
