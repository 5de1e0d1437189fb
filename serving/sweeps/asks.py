"""What a dialogue has a model write beside reasonings and answers.

These are next questions, a synopsis, a translation, a verdict. An ask runs through the one runner
as slots of kind ``questions``: its generation, with prompt and sampling, is kept like any other,
and no variant and no answer is made of it.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.engines.sampling import SamplingParameters

AskTask = Literal["ask", "synopsis", "translate", "judge"]
GivenName = Literal["theme", "answer", "move", "language", "text", "answer_a", "answer_b"]


class Ask(BaseModel):
    """One prompt about a question, and how many completions of it are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question_id: int
    task: AskTask
    given: dict[GivenName, str]
    """The values of the prompt, beside the question and its context."""
    format_id: int
    sampling: SamplingParameters
    replicates: int = Field(default=1, ge=1, le=32)


def asks_as_json(asks: Sequence[Ask]) -> list[dict[str, Any]]:
    """Return ``asks`` as JSON values, for the spec that a sweep keeps."""
    return [ask.model_dump(mode="json") for ask in asks]
