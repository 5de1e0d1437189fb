"""What the commands of ``q2q dialogue`` are given: numbers of dialogues and questions, names."""

import re
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
        raise UsageError(
            f"{given[:40]!r} is no number of a {what}; `q2q dialogue show` tells them."
        )
    return int(digits)


def language_code(given: str) -> str:
    """Return the ISO 639-1 code that a person gave.

    Raises:
        UsageError: It is none.
    """
    code = given.strip().lower()
    if re.fullmatch("[a-z]{2}", code) is None:
        raise UsageError(f"{given[:40]!r} is no language: give its ISO 639-1 code, e.g. ja.")
    return code
