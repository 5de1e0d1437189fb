"""How the turns of a dialogue are written: model, formats, sampling, counts, moves."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    model_validator,
)
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.input_text import Number, load_yaml, read_text
from db.tables import MOVES
from serving.engine.messages import SamplingParameters
from serving.formats.library import ASKING, Registry, StoredFormat
from serving.sweeps.selection import DEFAULT_MODEL, select_models


def _move(name: str) -> str:
    if name not in MOVES:
        raise ValueError(f"there is no move {name!r}; known are {', '.join(MOVES)}")
    return name


Move = Annotated[str, AfterValidator(_move)]


class DialogueSettings(BaseModel):
    """Stored with the dialogue; a fork or a replay may change them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "default"
    """Writes reasonings, answers and questions; ``default`` is the model of the settings."""
    prompt_format: str = "chat"
    """Of reasonings and answers."""
    ask_format: str | None = None
    """Of questions, synopses and verdicts; None: the built-in one of the same kind."""
    role: str = "assistant"
    mode: Literal["reasoning", "vanilla"] = "reasoning"
    variants: StrictInt = Field(default=3, ge=1, le=32)
    """Reasonings for a question."""
    answers: StrictInt = Field(default=1, ge=1, le=32)
    """Answers under each reasoning."""
    shown_answers: StrictInt = Field(default=3, ge=1, le=12)
    """Cards that are laid out; the others are folded."""
    shown_questions: StrictInt = Field(default=6, ge=1, le=24)
    moves: tuple[Move, ...] = Field(default=("deepen", "unfold", "rebut"), min_length=1)
    """What is asked for where nobody names moves."""
    reasoning_sampling: SamplingParameters = SamplingParameters(max_tokens=256)
    answer_sampling: SamplingParameters = SamplingParameters(max_tokens=512)
    ask_sampling: SamplingParameters = SamplingParameters(temperature=1.0, max_tokens=400)
    turn_timeout_s: Number = Field(default=300.0, gt=0)
    """A step that takes longer is ended with what there is."""

    @model_validator(mode="after")
    def _names_moves_once(self) -> Self:
        if len(set(self.moves)) < len(self.moves):
            raise ValueError("moves names one move twice")
        return self


def parse_settings(
    values: Mapping[str, Any], *, where: str = "The settings of the dialogue"
) -> DialogueSettings:
    """Return the settings in ``values``.

    Raises:
        UsageError: They are wrong; all mistakes at once.
    """
    try:
        return DialogueSettings.model_validate(dict(values))
    except ValidationError as error:
        raise UsageError(f"{where} are wrong: {mistakes(error)}.") from None


def mistakes(error: ValidationError) -> str:
    """Return all mistakes that pydantic found, in one line."""
    return "; ".join(
        ": ".join(
            filter(
                None,
                (".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")),
            )
        )
        for one in error.errors()
    )


def ask_format(settings: DialogueSettings, registry: Registry) -> StoredFormat:
    """Return the format that questions are asked for in."""
    if settings.ask_format is not None:
        return registry.format(settings.ask_format)
    return registry.format(ASKING[registry.format(settings.prompt_format).definition.kind])


def check_names(session: Session, registry: Registry, settings: DialogueSettings) -> None:
    """Refuse settings that name what is not there, before anything is stored with them.

    The model ``default`` passes: it is found, or fetched, when a turn asks for it.

    Raises:
        UsageError: There is no such model, prompt format or role.
    """
    if settings.model != DEFAULT_MODEL:
        select_models(session, [settings.model], "model")
    registry.format(settings.prompt_format)
    ask_format(settings, registry)
    registry.role(settings.role)


@cache
def move_instructions() -> Mapping[str, str]:
    """Return what a model is told for each move."""
    found: dict[str, str] = load_yaml(
        read_text(Path(__file__).with_name("moves.yaml")), where="moves.yaml"
    )
    return found
