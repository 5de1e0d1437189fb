"""What a row of a file says in our own fields, what was noted of it, and why it is not taken."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Scope = Literal["reasoning", "answer", "whole"]

NOT_TRAINED = "not_trained"
NEXT_QUESTIONS = "next_questions"


class Refused(Exception):
    """A row cannot be taken: the field, what is wrong with it, and what to do."""

    def __init__(self, field: str | None, what: str) -> None:
        super().__init__(what)
        self.field, self.what = field, what


class Cell(NamedTuple):
    """A value of a row, and what the file calls its field."""

    value: Any
    column: str


Cells = Mapping[str, Cell]
"""Field → its cell."""


ABOUT = (
    *("reference_answer", "answer_check", "category", "language", "tags", "external_id"),
    *("held_out", "split"),
)
"""Fields that tell of a question beside its texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRow:
    """A row in our own fields."""

    cells: Cells
    """Those that ``RowMaker`` reads."""
    rejected: Cells | None = None
    """The same question with worse texts."""
    label: bool | None = None
    scope: Scope = "answer"
    is_raw: bool = False
    """Its prompt was the question alone, with the context after a blank line if it has one."""
    fields: str | None = None
    """What no field of ours has: column → value, as a JSON object."""


class LeftOut(Exception):
    """A row is left out on purpose; the text says of what kind it is."""


@dataclass(slots=True)
class WrittenText:
    """What was written for a prompt: a text, and the reasoning that stands beside it."""

    text: str
    column: str
    """What the file calls it."""
    reasoning: str | None = None


@dataclass(slots=True)
class RowNotes:
    """What was done to the rows of a file without being asked."""

    unused: dict[str, None] = field(default_factory=dict)
    """Names of fields that hold something and were not used, in the order in which they occur."""
    counts: Counter[str] = field(default_factory=Counter)
    are_kept: bool = False
    """Fields that were not used are kept with the question."""

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each kind."""
        if self.unused:
            what = "Kept as fields of the questions" if self.are_kept else "Fields not used"
            yield f"{what}: {', '.join(self.unused)}."
        for kind, (one, several) in _SENTENCES.items():
            if number := self.counts[kind]:
                yield (one if number == 1 else several).format(number=number)


_SENTENCES = {
    "split": (
        "The reasoning of 1 text stood in markup such as <think> and was told apart from the"
        " answer.",
        "The reasoning of {number} texts stood in markup such as <think> and was told apart from"
        " the answer.",
    ),
    "mention": (
        "1 answer speaks of a tag such as <think>; it stays as it is.",
        "{number} answers speak of a tag such as <think>; they stay as they are.",
    ),
    "no_input": (
        "The input of 1 row says only that there is none (such as <noinput>); its context is"
        " empty.",
        "The input of {number} rows says only that there is none (such as <noinput>); their"
        " context is empty.",
    ),
    "greeting": (
        "1 turn of the assistant before any question was left out.",
        "{number} turns of the assistant before any question were left out.",
    ),
    NEXT_QUESTIONS: (
        "1 row asks for the next questions of a dialogue and was left out.",
        "{number} rows ask for the next questions of a dialogue and were left out.",
    ),
    "label": (
        "1 row has a label, which was not used; `q2q dataset import` takes labels and pairs.",
        "{number} rows have labels, which were not used; `q2q dataset import` takes labels and"
        " pairs.",
    ),
    NOT_TRAINED: (
        "1 row was left out: its answer has weight 0, so it is not to be learned.",
        "{number} rows were left out: their answers have weight 0, so they are not to be learned.",
    ),
    "unfinished": (
        "1 of the texts in a list of generations was left out: its reasoning was cut.",
        "{number} texts in lists of generations were left out: their reasoning was cut.",
    ),
    "garbled": (
        "1 text holds characters that were lost or garbled before the file was written, such as"
        " \ufffd or Ã¼ for ü; look at it.",
        "{number} texts hold characters that were lost or garbled before the file was written, such"
        " as \ufffd or Ã¼ for ü; look at them.",
    ),
    "cleaned": (
        "Control characters were removed from 1 text.",
        "Control characters were removed from {number} texts.",
    ),
}


def text_of(value: Any, name: str) -> str | None:
    """Return a field that is a text; None where it is empty or not there.

    Raises:
        Refused: It holds something else.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise Refused(name, f"holds {kind_of(value)}; give a text.")
    return value.strip() or None


def kind_of(value: Any) -> str:
    """Return what a value is, in words of JSON."""
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    kinds |= {str: "a text", dict: "an object"}
    return kinds.get(type(value), "something else")
