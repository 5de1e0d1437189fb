"""Whether a row is OK, however its label is written: a truth value, a number, a name of a class."""

import math
import re
from collections.abc import Sequence
from typing import Any

from serving.importers.parsed_row import Refused

_OK = (
    "true", "1", "1.0", "yes", "y", "ok", "okay", "good", "positive", "pos", "correct", "right",
    "accept", "accepted", "pass", "passed", "chosen", "desirable", "up", "thumbs up", "like",
)  # fmt: skip
_NOT_OK = (
    "false", "0", "0.0", "no", "n", "not ok", "bad", "negative", "neg", "incorrect", "wrong",
    "reject", "rejected", "fail", "failed", "undesirable", "down", "thumbs down", "dislike",
    "not okay", "not good",
)  # fmt: skip
_MEANING = dict.fromkeys(_OK, True) | dict.fromkeys(_NOT_OK, False)
_JOINED = re.compile(r"[_-](?=\D)")
"""What joins words; the sign of a number does not."""
_NO_CLASS = -1
"""What `datasets` writes where a row has no class."""


def label_of(value: Any, name: str, classes: Sequence[str] = ()) -> bool | None:
    """Return whether a row is OK; None where it does not say.

    Args:
        value: The label.
        name: What the file calls it.
        classes: What the file says that the numbers 0, 1, … stand for.

    Raises:
        Refused: It is none of the labels that are known.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    shown: Any = value
    number = _number_of(value, classes) if classes else None
    if number is not None:
        if number == _NO_CLASS:
            return None
        if number != int(number) or not 0 <= number < len(classes):
            raise Refused(name, f"is {value}, and the file names {len(classes)} classes only.")
        shown = classes[int(number)]
    word = " ".join(_JOINED.sub(" ", str(shown).strip().casefold()).split())
    if not word:
        return None
    if (found := _MEANING.get(word)) is not None:
        return found
    what = f"is {str(shown)[:40]!r}"
    if classes:
        what += f" (one of the classes {', '.join(map(repr, classes[:8]))}); which one is OK?"
        raise Refused(name, f"{what} Write true (OK) or false (not OK).")
    raise Refused(name, f"{what}; write true (OK) or false (not OK).")


def _number_of(value: Any, classes: Sequence[str]) -> float | None:
    """Return the number of a class, as which tables of text have it too; None: it is a name."""
    if isinstance(value, bool) or (isinstance(value, str) and value.strip() in classes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
