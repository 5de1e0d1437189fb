"""What the commands of ``q2q dialogue`` are given: numbers of dialogues and questions, names."""

from typing import Annotated

import typer

from db.errors import UsageError

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
        raise UsageError(f"{given!r} is no number of a {what}; `q2q dialogue show` tells them.")
    return int(digits)
