"""What one row of a training file says, before its prompt and its completions are understood."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """A row cannot be taken: the field, what is wrong with it, and what to do."""

    def __init__(self, field: str | None, what: str) -> None:
        super().__init__(what)
        self.field, self.what = field, what


class LeftOut(Exception):
    """A row is left out on purpose; the text says of what kind it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A row whose texts are a prompt and what follows it."""

    prompt: str
    system: str | None = None
    completion: str | None = None
    rejected: str | None = None
    label: bool | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """``prompt``, ``completion``, ``rejected`` → what the file calls it."""


def label_of(values: Mapping[str, Any]) -> bool | None:
    """Return whether a row is OK; None where it does not say.

    Raises:
        Refused: It says something else than yes or no.
    """
    for name in ("label", "kto_tag"):
        value = values.get(name)
        if value is None:
            continue
        said = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
        if (found := said.get(str(value).strip().casefold())) is None:
            raise Refused(name, f"is {str(value)[:40]!r}; write true (OK) or false (not OK).")
        return found
    return None


def text_of(values: Mapping[str, Any], name: str) -> str | None:
    """Return a field that is a text; None where it is empty or not there.

    Raises:
        Refused: It holds something else.
    """
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Refused(name, f"holds {kind_of(value)}; give a text.")
    return value.strip() or None


def kind_of(value: Any) -> str:
    """Return what a value is, in words of JSON."""
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "an object" if isinstance(value, dict) else "something else")
