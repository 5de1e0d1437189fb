"""Themes as files: what a dialogue is about, in YAML, checked as a whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from sqlalchemy.orm import Session

from db.dialogues import FIELDS, ThemeRow, save_theme
from db.errors import UsageError
from db.input_text import load_yaml, problem_of, read_text
from workbench.dialogue.settings import DialogueSettings, mistakes

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
    try:
        return ThemeFile.model_validate(dict(mapping))
    except ValidationError as error:
        raise UsageError(f"{where} is wrong: {mistakes(error)}.") from None


def load_theme(path: Path) -> ThemeFile:
    """Return the theme in the YAML file at ``path``.

    Raises:
        UsageError: The file cannot be read, is no YAML, or its theme is wrong.
    """
    content = load_yaml(read_text(path), where=str(path))
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} holds no theme: give name, concept and goal; see docs/dialogues.md."
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
