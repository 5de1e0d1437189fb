"""The texts of a dataset row as frozen, and what a model is to write in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from serving.formats.definitions import Completion, PromptFields, Task

Target = Literal["reasoning", "answer", "whole", "questions"]
"""What is to be learned: the reasoning, the answer, both in one completion, or next questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTexts:
    """All texts of a row: those of its prompt and those to learn."""

    system: str
    """The system text of the role, as it was when the dataset was frozen."""
    role: str
    question: str
    context: str = ""
    language: str | None = None
    reasoning: str | None = None
    """To be learned or, where the target is the answer, given in the prompt."""
    answer: str | None = None
    rejected_reasoning: str | None = None
    """Preference rows: what is to become less likely."""
    rejected_answer: str | None = None
    theme: str | None = None
    """Rows of next questions: what the dialogue is about, as the model was told it."""
    move: str | None = None
    """What kind of question is asked for, as the model was told it."""
    asked_language: str | None = None
    """The name of the language that the questions are to be in."""
    questions: str | None = None
    """The questions that people chose, as a JSON list; ``answer`` is then what they follow from,
    and ``reasoning`` what that answer was written under."""
    rejected_questions: str | None = None

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the texts that ``payload`` holds."""
        return cls(**payload)

    def payload(self) -> dict[str, Any]:
        """Return the texts as JSON values; what is not there is left out."""
        values = {name: getattr(self, name) for name in type(self).__slots__}
        return {name: value for name, value in values.items() if value is not None}

    def task(self, target: Target) -> Task:
        """Return what the model is asked for."""
        if target == "answer":
            return "vanilla" if self.reasoning is None else "answer"
        return "ask" if target == "questions" else target

    def fields(self, target: Target) -> PromptFields:
        """Return the values of the prompt; the same for all completions of the row."""
        if target == "questions":
            return PromptFields(
                system=self.system,
                question=self.question,
                context=self.context,
                answer=self.answer,
                theme=self.theme,
                move=self.move,
                language=self.asked_language,
            )
        return PromptFields(
            system=self.system,
            question=self.question,
            context=self.context,
            reasoning=self.reasoning if target == "answer" else None,
        )

    def completion(self, target: Target, *, rejected: bool = False) -> Completion:
        """Return what is to be written, or what is rather not."""
        if target == "questions":
            return Completion(questions=self.rejected_questions if rejected else self.questions)
        reasoning = self.rejected_reasoning if rejected else self.reasoning
        answer = self.rejected_answer if rejected else self.answer
        return Completion(
            reasoning=None if target == "answer" else reasoning,
            response=None if target == "reasoning" else answer,
        )
