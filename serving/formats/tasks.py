"""What a model can be asked to write, and the values that a prompt is filled with."""

from dataclasses import dataclass
from typing import Literal, cast

from db.errors import Q2QError

Task = Literal[
    "reasoning",
    "answer",
    "vanilla",
    "rationalise",
    "ensemble",
    "whole",
    "ask",
    "synopsis",
    "translate",
    "judge",
]
"""``reasoning``: write a reasoning; ``answer``: answer from one; ``vanilla``: answer without one;
``rationalise``: a reasoning for a known answer; ``ensemble``: one reasoning out of two;
``whole``: a reasoning and the answer in one completion. Those of a dialogue: ``ask``: next
questions that an answer leads to; ``synopsis``: what is known and what is open; ``translate``: a
text in another language; ``judge``: which of two answers is better for an audience."""

DIALOGUE_TASKS: tuple[Task, ...] = ("ask", "synopsis", "translate", "judge")
"""Tasks that have formats of their own."""

FieldName = Literal[
    "system",
    "question",
    "context",
    "reasoning",
    "answer",
    "reasoning_a",
    "reasoning_b",
    "theme",
    "move",
    "language",
    "text",
    "answer_a",
    "answer_b",
    "questions",
]

REQUIRED: dict[Task, tuple[FieldName, ...]] = {
    "reasoning": ("question",),
    "answer": ("question", "reasoning"),
    "vanilla": ("question",),
    "rationalise": ("question", "answer"),
    "ensemble": ("question", "reasoning_a", "reasoning_b"),
    "whole": ("question",),
    "ask": ("theme", "question", "answer", "move", "language"),
    "synopsis": ("theme", "text", "language"),
    "translate": ("text", "language"),
    "judge": ("theme", "question", "answer_a", "answer_b"),
}
"""Fields that the prompt of each task must hold, beside the optional system text and context."""

WRITTEN: dict[Task, tuple[FieldName, ...]] = {
    "reasoning": ("reasoning",),
    "answer": ("answer",),
    "vanilla": ("answer",),
    "rationalise": ("reasoning",),
    "ensemble": ("reasoning",),
    "whole": ("reasoning", "answer"),
    "ask": ("questions",),
    "synopsis": ("answer",),
    "translate": ("answer",),
    "judge": ("answer",),
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
    """The known answer, for ``rationalise``; the one that ``ask`` goes on from."""
    reasoning_a: str | None = None
    reasoning_b: str | None = None
    theme: str | None = None
    """What a dialogue is about, in words."""
    move: str | None = None
    """What kind of next question is asked for, in words."""
    language: str | None = None
    """The name of the language to write in."""
    text: str | None = None
    """What is to be summed up or translated."""
    answer_a: str | None = None
    answer_b: str | None = None
    questions: str | None = None
    """A list of questions as JSON, as a model is to write it."""

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
    questions: str | None = None

    def fields(self) -> PromptFields:
        """Return it as the values that a completion's template is filled with."""
        return PromptFields(
            system="",
            question="",
            reasoning=self.reasoning,
            answer=self.response,
            questions=self.questions,
        )
