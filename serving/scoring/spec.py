"""What is to be scored, as a job carries it."""

from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from db.spec_files import validated


class ScoreSpec(BaseModel):
    """Which answers are scored, and how many of them. The same spec reads the scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sweep: StrictInt | None = Field(default=None, ge=1)
    """Only answers that this sweep shows."""
    questions: tuple[StrictInt, ...] = ()
    """Only answers to these questions."""
    role: str | None = None
    model: str | None = None
    """The model that scores; by default each model scores what it wrote. With ``answers: model``
    only what this model wrote is scored."""
    answers: Literal["model", "people"] = "model"
    """Answers that models sampled, or those that people wrote or imported (not in sweeps)."""
    format: str = "chat@1"
    """Prompt format for the answers of people; a model's have one already."""
    most_questions: StrictInt = Field(default=200, ge=1)
    """Questions, the oldest first."""
    most_reasonings: StrictInt = Field(default=8, ge=1, le=64)
    """Reasonings of one question, the oldest first."""
    most_answers: StrictInt = Field(default=4, ge=1, le=64)
    """Answers under one reasoning, the oldest first."""
    controls: StrictBool = True
    """Also score under shuffled, truncated and foreign reasonings."""
    leak: StrictBool = True
    """Also score with the question withheld."""
    retry: StrictBool = False
    """Score once more what could not be scored, e.g. because it was too long."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.answers == "people" and self.model is None:
            raise ValueError("answers of people need a model that scores them: name one")
        if self.answers == "people" and self.sweep is not None:
            raise ValueError("answers of people stand in no sweep: leave out one of the two")
        return self


def parse_score_spec(values: dict[str, object]) -> ScoreSpec:
    """Return the spec in ``values``.

    Raises:
        UsageError: A key or a value is wrong.
    """
    return validated(ScoreSpec, values, "This cannot be scored: {problems}.")
