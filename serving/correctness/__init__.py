r"""Correctness: answers compared with the reference answer of their question, by a chosen check.

A check is a name, with an argument after a colon where it takes one: ``number``, ``number:1%``,
``regex:^Yes\b``. This is their registry. They know two texts, nothing of models or the store.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from db.errors import UsageError
from db.identity import short_hash
from serving.correctness.limited import grade_maths, grade_regex
from serving.correctness.matching import (
    NO_REFERENCE,
    Grade,
    grade_contains,
    grade_exact,
    grade_json,
    grade_match,
    grade_number,
    grade_option,
    tolerance,
)

__all__ = ["ANSWER_CHECKS", "AnswerCheck", "Grade", "parse_answer_check"]

MAX_ARGUMENT = 500


def _any_line(argument: str) -> str | None:
    if argument in ("", "any"):
        return None
    return "The answer check {name} takes no argument, or “any”: one line of the reference will do."


def _no_argument(argument: str) -> str | None:
    return "The answer check {name} takes no argument." if argument else None


def _tolerance(argument: str) -> str | None:
    try:
        tolerance(argument, Fraction(1))
    except (ValueError, ZeroDivisionError):
        return "The answer check {name} takes the difference that is allowed, such as 0.01 or 1%."
    return None


def _pattern(argument: str) -> str | None:
    try:
        re.compile(argument)
    except (re.error, OverflowError):
        return "This is no regular expression of Python: {argument}"
    return None if argument else "The answer check {name} takes a pattern, such as regex:^Yes"


def _path(argument: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class AnswerCheckEntry:
    """How answers are compared under one name; pages have its label under the name."""

    grade: Callable[[str, str, str], Grade]
    """Takes the answer, the reference and the argument."""
    problem: Callable[[str], str | None] = _no_argument
    """What is wrong with an argument, as the template of a sentence; None: nothing."""
    version: int = 1
    """Raised with every change of what it finds: what was graded before is graded anew."""
    needs_reference: bool = True


ANSWER_CHECKS: Final[dict[str, AnswerCheckEntry]] = {
    "exact": AnswerCheckEntry(grade_exact, version=2),
    "match": AnswerCheckEntry(grade_match, _any_line, version=2),
    "contains": AnswerCheckEntry(grade_contains, _any_line, version=2),
    "number": AnswerCheckEntry(grade_number, _tolerance, version=2),
    "option": AnswerCheckEntry(grade_option, version=2),
    "maths": AnswerCheckEntry(grade_maths, version=2),
    "json": AnswerCheckEntry(grade_json, _path),
    "regex": AnswerCheckEntry(grade_regex, _pattern, needs_reference=False),
}
"""Every check by its stable name, in the order in which pages offer them."""


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """A check with its argument, as a question bears it."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.argument}" if self.argument else self.name

    def grade(self, answer: str, reference: str | None) -> Grade:
        """Return whether ``answer`` is correct."""
        entry = ANSWER_CHECKS[self.name]
        if entry.needs_reference and not (reference or "").strip():
            return Grade(None, NO_REFERENCE)
        return entry.grade(answer, reference or "", self.argument)

    def key(self, reference: str | None) -> str:
        """Return a hash of all that changes a grade beside the answer: it tells stale ones."""
        version = str(ANSWER_CHECKS[self.name].version)
        return short_hash(str(self), version, reference or "")


def parse_answer_check(text: str) -> AnswerCheck | None:
    """Return the check that ``text`` names; None where it is empty.

    Raises:
        UsageError: There is no such check, or its argument is none; the sentence tells.
    """
    name, _, argument = text.strip().partition(":")
    name = name.strip().lower()
    if not name and not argument:
        return None
    if name not in ANSWER_CHECKS:
        raise UsageError(
            "There is no answer check {name!r}; choose one of {known}.",
            name=name[:40],
            known=", ".join(ANSWER_CHECKS),
        )
    problem = ANSWER_CHECKS[name].problem(argument)
    if len(argument) > MAX_ARGUMENT:
        problem = "The answer check {name} takes at most 500 characters."
    if problem:
        raise UsageError(problem, name=name, argument=argument)
    return AnswerCheck(name, argument)
