"""What a check of the machine found."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding of ``q2q doctor``."""

    name: str
    state: State
    """``warn``: works, though not as tested or not for long; ``fail``: something won't work."""
    message: str
    remedy: str | None = None
    """What to do; always there unless all is well."""


def ok(name: str, message: str) -> Check:
    """Return a finding that all is well."""
    return Check(name=name, state="ok", message=message)


def warn(name: str, message: str, remedy: str) -> Check:
    """Return a finding that need not stop anybody."""
    return Check(name=name, state="warn", message=message, remedy=remedy)


def fail(name: str, message: str, remedy: str) -> Check:
    """Return a finding that has to be dealt with."""
    return Check(name=name, state="fail", message=message, remedy=remedy)
