"""What a model can be asked to write, and what roles and prompt formats are.

Tasks with the fields they read and write; templates, which are trusted text with named slots for
what people or models wrote; and the rules that every definition of a role or format must keep.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple, Self, cast, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from db.errors import Q2QError
from db.identity import json_hash
from db.texts.inputs import QuestionText

GenerationTask = Literal["reasoning", "answer", "vanilla", "rationalise", "ensemble", "whole"]
DialogueTask = Literal["ask", "synopsis", "translate", "judge"]
Task = Literal[GenerationTask, DialogueTask]
"""``reasoning``: write a reasoning; ``answer``: answer from one; ``vanilla``: answer without one;
``rationalise``: a reasoning for a known answer; ``ensemble``: one reasoning out of two;
``whole``: a reasoning and the answer in one completion. Those of a dialogue: ``ask``: next
questions that an answer leads to; ``synopsis``: what is known and what is open; ``translate``: a
text in another language; ``judge``: which of two answers is better for an audience."""

DIALOGUE_TASKS: tuple[Task, ...] = get_args(DialogueTask)
"""Tasks that have formats of their own."""


class TaskFields(NamedTuple):
    """The fields of ``PromptFields`` that a task is about."""

    required: tuple[str, ...]
    """Its prompt must hold these, beside the optional system text and context."""
    written: tuple[str, ...]
    """The model writes these, in this order."""


TASKS: dict[Task, TaskFields] = {
    "reasoning": TaskFields(("question",), ("reasoning",)),
    "answer": TaskFields(("question", "reasoning"), ("answer",)),
    "vanilla": TaskFields(("question",), ("answer",)),
    "rationalise": TaskFields(("question", "answer"), ("reasoning",)),
    "ensemble": TaskFields(("question", "reasoning_a", "reasoning_b"), ("reasoning",)),
    "whole": TaskFields(("question",), ("reasoning", "answer")),
    "ask": TaskFields(("theme", "question", "answer", "move", "language"), ("questions",)),
    "synopsis": TaskFields(("theme", "text", "language"), ("answer",)),
    "translate": TaskFields(("text", "language"), ("answer",)),
    "judge": TaskFields(("theme", "question", "answer_a", "answer_b"), ("answer",)),
}


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
                "This prompt needs a value for {name!r} and has none: give one, or choose a mode "
                "that does not need it.",
                name=name,
            )
        return text


QUESTION_FIELDS: Mapping[str, str] = {"question": "text", "context": "context"}
"""Field → attribute of ``QuestionText``: what prompts of sweeps and rows of datasets are filled
with. Formats may leave out all but the question itself."""


def question_values(question: QuestionText) -> dict[str, str]:
    """Return what a question gives to prompts, by field; what it has not is left out."""
    return values_given(question, QUESTION_FIELDS)


def values_given(of: object, attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that are not None, by the names that they get."""
    values = ((name, getattr(of, attribute)) for name, attribute in attributes.items())
    return {name: value for name, value in values if value is not None}


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


PLACEHOLDERS = tuple(field.name for field in fields(PromptFields))


class Piece(NamedTuple):
    """A part of a template: trusted text, or the name of the field that fills a slot."""

    text: str
    is_field: bool


@lru_cache(maxsize=512)
def parse_template(template: str) -> tuple[Piece, ...]:
    """Split ``template`` into literal text and slots; ``{{`` and ``}}`` are literal braces.

    Raises:
        ValueError: A placeholder is unknown or malformed; the message names it.
    """
    pieces: list[Piece] = []
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for braces that are text") from error
    for literal, name, spec, conversion in parsed:
        if literal:
            pieces.append(Piece(literal, is_field=False))
        if name is None:
            continue
        if name not in PLACEHOLDERS or spec or conversion:
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(
                f"unknown placeholder {{{written}}}; use one of {known}, "
                "or write {{ and }} for braces that are text"
            )
        pieces.append(Piece(name, is_field=True))
    return tuple(pieces)


def field_names(template: str) -> list[str]:
    """Return the fields that ``template`` holds, in order, with repetitions."""
    return [piece.text for piece in parse_template(template) if piece.is_field]


def without_empty_context(template: str) -> str:
    """Return ``template`` without the paragraphs that hold ``{context}``.

    A paragraph ends at a blank line. This is how a chat format says nothing of a context where
    the question has none.
    """
    paragraphs = template.split("\n\n")
    return "\n\n".join(part for part in paragraphs if "context" not in field_names(part))


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


def _template(text: str) -> str:
    parse_template(text)
    return text


def _tag(text: str) -> str:
    if len(text) < 2 or text != text.strip():
        raise ValueError(
            f"tag {text!r} must have two characters or more and no white space around it"
        )
    return text


Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]
Tag = Annotated[str, AfterValidator(_tag)]


def _canonical_json(schema: object) -> object:
    """Return a schema as JSON with sorted keys: a definition has to be hashable."""
    return json.dumps(schema, sort_keys=True) if isinstance(schema, dict) else schema


JsonSchema = Annotated[str, BeforeValidator(_canonical_json)]
Stop = Annotated[str, Field(min_length=1)]


class _Definition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    version: int = Field(ge=1)
    """A used definition is never edited: a change is a new version."""

    @property
    def reference(self) -> str:
        """Its full name, e.g. ``tagged@1``."""
        return f"{self.name}@{self.version}"

    def dump(self) -> dict[str, Any]:
        """Return it as JSON values; fields at their default are left out."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def definition_hash(self) -> str:
        """Hash of all that it says."""
        return json_hash(self.dump())


class RoleDefinition(_Definition):
    """A persona, chosen by a question's ``flag``; it selects the system message."""

    system: str
    """Who the model is to be."""


class TaskTemplates(BaseModel):
    """How one task is put to the model, and where its completion ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Template
    """Tagged: the whole prompt. Chat: the user's turn; the system text has a turn of its own."""
    completion: Template
    """What the model writes. The stop token follows, unless this ends with a stop string."""
    stop: tuple[Stop, ...] = ()
    """Strings that end the completion, beside the stop token; they are not part of it."""
    json_schema: JsonSchema | None = None
    """The completion must be JSON of this schema; servers of vLLM's kind hold the model to it."""

    @property
    def ends_with_stop_token(self) -> bool:
        """Whether the model ends this task by its stop token."""
        return not any(self.completion.endswith(stop) for stop in self.stop)


class Tasks(BaseModel):
    """The tasks that a format can put; one it cannot is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reasoning: TaskTemplates | None = None
    answer: TaskTemplates | None = None
    vanilla: TaskTemplates | None = None
    rationalise: TaskTemplates | None = None
    ensemble: TaskTemplates | None = None
    whole: TaskTemplates | None = None
    ask: TaskTemplates | None = None
    synopsis: TaskTemplates | None = None
    translate: TaskTemplates | None = None
    judge: TaskTemplates | None = None

    def get(self, task: Task) -> TaskTemplates | None:
        """Return the templates of ``task``, or None where the format has none."""
        templates: TaskTemplates | None = getattr(self, task)
        return templates

    def given(self) -> dict[Task, TaskTemplates]:
        """Return the tasks that have templates."""
        return {task: templates for task in TASKS if (templates := self.get(task))}


class FormatDefinition(_Definition):
    """A prompt format: templates by task, stop strings, and the tags that the parser looks for."""

    kind: Literal["tagged", "chat"]
    """``tagged``: plain text with tags, for models trained on them. ``chat``: the prompt is the
    user's turn in the model's own chat template."""
    response_tag: Tag
    """Stands between reasoning and response in a completion that holds both."""
    tags: tuple[Tag, ...]
    """Every literal with a meaning in this format; values that hold one have it broken up."""
    tasks: Tasks

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        problems = [] if self.response_tag in self.tags else ["tags must hold the response_tag"]
        if not self.tasks.given():
            problems.append("tasks must hold at least one task")
        for task, templates in self.tasks.given().items():
            problems += [f"tasks.{task}.{problem}" for problem in self._problems(task, templates)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self, task: Task, templates: TaskTemplates) -> list[str]:
        names = field_names(templates.prompt)
        optional = QUESTION_FIELDS.keys() - {"question"}
        allowed = {*TASKS[task].required, *optional} | (
            {"system"} if self.kind == "tagged" else set()
        )
        needed = [*TASKS[task].required, *(["system"] if self.kind == "tagged" else [])]
        problems = [f"prompt must hold {{{name}}}" for name in needed if name not in names]
        problems += [
            f"prompt cannot hold {{{name}}}: "
            + ("a chat format gives it as the system message" if name == "system" else "not known")
            for name in dict.fromkeys(names)
            if name not in allowed
        ]
        if field_names(templates.completion) != list(TASKS[task].written):
            expected = " and then ".join(f"{{{name}}}" for name in TASKS[task].written)
            problems.append(f"completion must hold {expected}, once, and no other field")
        elif task == "whole" and self.response_tag not in templates.completion:
            problems.append("completion must hold the response_tag")
        return problems


class DefinitionFile(BaseModel):
    """A YAML file of roles and prompt formats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: tuple[RoleDefinition, ...] = ()
    formats: tuple[FormatDefinition, ...] = ()
