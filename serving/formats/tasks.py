"""What a model can be asked to write, and the values that a prompt is filled with."""

from dataclasses import dataclass
from typing import Literal, cast

from db.errors import Q2QError

Task = Literal["reasoning", "answer", "vanilla", "rationalise", "ensemble", "whole"]
"""``reasoning``: write a reasoning; ``answer``: answer from one; ``vanilla``: answer without one;
``rationalise``: a reasoning for a known answer; ``ensemble``: one reasoning out of two;
``whole``: a reasoning and the answer in one completion."""

FieldName = Literal[
    "system", "question", "context", "reasoning", "answer", "reasoning_a", "reasoning_b"
]

REQUIRED: dict[Task, tuple[FieldName, ...]] = {
    "reasoning": ("question",),
    "answer": ("question", "reasoning"),
    "vanilla": ("question",),
    "rationalise": ("question", "answer"),
    "ensemble": ("question", "reasoning_a", "reasoning_b"),
    "whole": ("question",),
}
"""Fields that the prompt of each task must hold, beside the optional system text and context."""

WRITTEN: dict[Task, tuple[FieldName, ...]] = {
    "reasoning": ("reasoning",),
    "answer": ("answer",),
    "vanilla": ("answer",),
    "rationalise": ("reasoning",),
    "ensemble": ("reasoning",),
    "whole": ("reasoning", "answer"),
}
"""Fields that the model writes in each task, in this order."""


class PromptError(Q2QError):
    """This prompt cannot be rendered; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFields:
    """The values of one prompt. All of them are untrusted: they can change no structure."""

    system: str
    question: str
    context: str = ""
    reasoning: str | None = None
    answer: str | None = None
    """The known answer, for ``rationalise``."""
    reasoning_a: str | None = None
    reasoning_b: str | None = None

    def value(self, name: str) -> str:
        """Return the value of the field called ``name``.

        Raises:
            PromptError: It was not given.
        """
        text = cast(str | None, getattr(self, name))
        if text is None:
            raise PromptError(
                f"This prompt needs a value for {name!r} and has none: give one, or choose a mode "
                "that does not need it."
            )
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model is to learn to write; the fields that its task writes must be given."""

    reasoning: str | None = None
    response: str | None = None
