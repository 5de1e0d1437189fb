"""The theme of a dialogue, and how its turns are written: from files, forms and `--set` alike."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    model_validator,
)
from sqlalchemy.orm import Session

from db.dialogues import FIELDS, ThemeRow, save_theme
from db.errors import UsageError
from db.input_text import Number, load_yaml, problem_of, read_text
from db.spec_files import validated
from db.tables import MOVES
from serving.engine.messages import SamplingParameters
from serving.formats.library import ASKING, Registry, StoredFormat
from serving.models.as_served import VersionMissing
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
    return validated(DialogueSettings, values, "{where} are wrong: {problems}.", where=where)


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
        with suppress(VersionMissing):  # it is written when a turn asks for it
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


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
LANGUAGES = {
    "en": "English",
    "ja": "Japanese",
    "zh": "Chinese",
    "ko": "Korean",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "pt": "Portuguese",
    "it": "Italian",
    "ru": "Russian",
}
"""Names by which models know languages; another code is passed on as it is."""
_FIRST = {
    "ja": "「{concept}」について、「{goal}」ために最初に知るべきことは何ですか。",
    "zh": "关于“{concept}”，为了“{goal}”，首先应该弄清什么？",
}
_FIRST_ELSEWHERE = "{concept}: what should one know first, with this goal: {goal}?"


class ThemeFile(BaseModel):
    """A theme, and how a dialogue about it begins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[Line, Field(max_length=100)]
    """What lists call it; each theme has its own name."""
    concept: Line
    """What the dialogue is about."""
    goal: Line
    """What the person wants to find out or to reach."""
    opposing_goal: Line | None = None
    """What somebody else wants; answers can then be argued for each side."""
    audience: Line | None = None
    """Who is to be convinced or helped; also the persona that judges."""
    points_of_view: tuple[Line, ...] = Field(default=(), max_length=20)
    language: Annotated[str, Field(pattern="^[a-z]{2}$")] = "en"
    """ISO 639-1 code of questions and answers."""
    first_question: Line | None = None
    """The root of the tree; made from concept and goal where it is not given."""
    settings: DialogueSettings = DialogueSettings()
    """How turns are written, where a dialogue says nothing else."""

    @model_validator(mode="after")
    def _is_text(self) -> Self:
        given = {name: getattr(self, name) for name in ("name", *FIELDS, "first_question")}
        texts = {name: text for name, text in given.items() if isinstance(text, str)}
        texts |= {f"points_of_view[{i}]": text for i, text in enumerate(self.points_of_view)}
        problems = [
            f"{name} {problem}" for name, text in texts.items() if (problem := problem_of(text))
        ]
        if len(set(self.points_of_view)) < len(self.points_of_view):
            problems.append("points_of_view names one twice")
        if self.opposing_goal == self.goal:
            problems.append("opposing_goal is the goal itself")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def question(self) -> str:
        """The first question."""
        if self.first_question is not None:
            return self.first_question
        template = _FIRST.get(self.language, _FIRST_ELSEWHERE)
        return template.format(concept=self.concept, goal=self.goal)


def parse_theme(mapping: Mapping[str, Any], *, where: str = "The theme") -> ThemeFile:
    """Return the theme in ``mapping``.

    Raises:
        UsageError: It is wrong; all mistakes at once.
    """
    return validated(ThemeFile, mapping, "{where} is wrong: {problems}.", where=where)


def load_theme(path: Path) -> ThemeFile:
    """Return the theme in the YAML file at ``path``.

    Raises:
        UsageError: The file cannot be read, is no YAML, or its theme is wrong.
    """
    content = load_yaml(read_text(path), where=str(path))
    if not isinstance(content, dict):
        raise UsageError(
            "{path} holds no theme: give name, concept and goal; see docs/dialogues.md.", path=path
        )
    return parse_theme(content, where=str(path))


def store_theme(session: Session, theme: ThemeFile) -> int:
    """Store a theme and return its id.

    Raises:
        UsageError: Another theme of this name is in use.
    """
    return save_theme(session, theme.name, {name: getattr(theme, name) for name in FIELDS})


def language_name(code: str | None) -> str:
    """Return what a model calls a language."""
    return LANGUAGES.get(code or "en", code or "English")


def in_words(theme: ThemeRow) -> str:
    """Return a theme as a prompt tells it."""
    lines = [f"Concept: {theme.concept}", f"Goal: {theme.goal}"]
    if theme.opposing_goal:
        lines.append(f"Opposing goal: {theme.opposing_goal}")
    if theme.audience:
        lines.append(f"Audience: {theme.audience}")
    if theme.points_of_view:
        lines.append(f"Points of view: {'; '.join(theme.points_of_view)}")
    return "\n".join(lines)
