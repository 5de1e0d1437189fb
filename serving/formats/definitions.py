"""What a role and a prompt format are; the rules that every definition must keep."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from db.identity import json_hash
from serving.formats.tasks import REQUIRED, WRITTEN, Task
from serving.formats.templates import field_names, parse_template

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
        return {task: templates for task in REQUIRED if (templates := self.get(task))}


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
        allowed = {*REQUIRED[task], "context"} | ({"system"} if self.kind == "tagged" else set())
        needed = [*REQUIRED[task], *(["system"] if self.kind == "tagged" else [])]
        problems = [f"prompt must hold {{{name}}}" for name in needed if name not in names]
        problems += [
            f"prompt cannot hold {{{name}}}: "
            + ("a chat format gives it as the system message" if name == "system" else "not known")
            for name in dict.fromkeys(names)
            if name not in allowed
        ]
        if field_names(templates.completion) != list(WRITTEN[task]):
            expected = " and then ".join(f"{{{name}}}" for name in WRITTEN[task])
            problems.append(f"completion must hold {expected}, once, and no other field")
        elif task == "whole" and self.response_tag not in templates.completion:
            problems.append("completion must hold the response_tag")
        return problems


class DefinitionFile(BaseModel):
    """A YAML file of roles and prompt formats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: tuple[RoleDefinition, ...] = ()
    formats: tuple[FormatDefinition, ...] = ()
