"""What a person asks for in a sweep: a YAML file or a form, checked as a whole.

Knows nothing of the store: names stay names here; ``serving.sweeps.plan`` resolves them.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictInt,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from db.errors import UsageError
from db.identity import Precision
from db.input_text import Number, load_mapping, read_text
from serving.engine.messages import MAX_SEED, SamplingParameters

Mode = Literal["reasoning", "supplied", "vanilla", "rationalise", "ensemble"]
FROM_EXISTING: frozenset[Mode] = frozenset({"supplied", "ensemble"})
"""Modes that start from reasonings that exist already."""
OWN_ROLE = "question"
"""Stands for the role that each question has."""


def _strip_kind_letter(value: object) -> object:
    if isinstance(value, str) and re.fullmatch("[qvgs][0-9]{1,19}", value):
        return int(value[1:])
    return value


def _number_or_range(value: object) -> int | str:
    """Return a number of the store, or a range as ``3-9``."""
    written = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    ends = re.fullmatch("[qv]?([0-9]{1,19})(?:[ ]*[-–][ ]*[qv]?([0-9]{1,19}))?", written.strip())
    if ends is None or int(ends[1]) < 1 or max(map(int, filter(None, ends.groups()))) > MAX_ID:
        raise ValueError(f"{value!r} is neither a number such as 12 nor a range such as 3-9")
    if ends[2] is None:
        return int(ends[1])
    if int(ends[2]) < int(ends[1]):
        raise ValueError(f"the range {value} ends before it begins")
    return f"{int(ends[1])}-{int(ends[2])}"


def _listed(value: object) -> object:
    """Return what a file may also say without a list: ``ids: 3-9, 12``."""
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) else value


MAX_ID: Final = 2**63 - 1
Id = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_strip_kind_letter)]
"""A number of the store, with or without its kind letter: ``12`` or ``q12``."""
Ids = Annotated[
    tuple[Annotated[int | str, PlainValidator(_number_or_range)], ...], BeforeValidator(_listed)
]
"""Numbers of the store and ranges of them, which hold both ends: ``12``, ``q12``, ``3-9``."""
QuestionSource = Literal["human", "imported", "example", "model"]


def _without_unset(values: dict[str, Any], *later: str) -> dict[str, Any]:
    """Return what a spec says, without keys that came later and say nothing."""
    return {key: value for key, value in values.items() if value or key not in later}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuestionSelection(_Part):
    """Which questions; all conditions that are given must hold."""

    tags: tuple[str, ...] = ()
    """Has at least one of these tags."""
    ids: Ids = ()
    """Is one of these."""
    file: Path | None = None
    """Is in this file of questions, which has been imported; a path beside the spec's own."""
    search: str | None = None
    """Holds these words."""
    languages: tuple[str, ...] = ()
    """Is in one of these languages (ISO 639-1)."""
    roles: tuple[str, ...] = ()
    """Has one of these roles."""
    categories: tuple[str, ...] = ()
    """Is in one of these categories."""
    sources: tuple[QuestionSource, ...] = ()
    """Came from one of these."""
    held_out: StrictBool | None = None
    """True: is kept from training; false: is one to train on."""
    limit: StrictInt | None = Field(default=None, ge=1)
    """At most so many, the oldest first."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later keys that are not given: older specs keep their hash."""
        return _without_unset(dump(self), "categories", "sources")


class ReasoningSelection(_Part):
    """Which existing reasonings; all conditions that are given must hold."""

    ids: Ids = ()
    """Is one of these."""
    search: str | None = None
    """Holds these words."""
    min_rating: Number | None = None
    """People rated it so high on average, on the axes of reasonings."""
    file: Path | None = None
    """Is in this file, which has been imported; a path beside the spec's own."""
    sweep: Id | None = None
    """Was written in this sweep."""
    checks_absent: tuple[str, ...] = ()
    """Has none of these findings."""


class SweepSpec(_Part):
    """A designed experiment. Every key has a default but ``name``; docs/sweeps.md explains them."""

    name: str = Field(min_length=1, max_length=200)
    """How lists call it."""
    questions: QuestionSelection = QuestionSelection()
    """Which questions; none of its conditions given: all of them."""
    formats: tuple[str, ...] = Field(default=("chat@1",), min_length=1)
    """Prompt formats, ``name`` (the newest version) or ``name@version``."""
    roles: tuple[str, ...] = Field(default=(OWN_ROLE,), min_length=1)
    """Roles to try; ``question`` is the question's own."""
    modes: tuple[Mode, ...] = Field(default=("reasoning",), min_length=1)
    """How the answer comes about."""
    models: tuple[str, ...] = Field(default=("default",), min_length=1)
    """Writers of the reasonings; ``default`` is the model of the settings."""
    answer_models: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Writers of the answers, each under every reasoning; None: each writer answers itself."""
    precision: tuple[Precision, ...] | None = Field(default=None, min_length=1)
    """Precisions to serve every model in; None: the one that its server takes."""
    reasoning_sampling: tuple[SamplingParameters, ...] = Field(
        default=(SamplingParameters(),), min_length=1
    )
    """Sampling levels of the reasonings."""
    answer_sampling: tuple[SamplingParameters, ...] = Field(
        default=(SamplingParameters(),), min_length=1
    )
    """Sampling levels of the answers."""
    variants: StrictInt = Field(default=4, ge=1, le=10_000)
    """k: reasonings per question and level."""
    answers: StrictInt = Field(default=2, ge=0, le=10_000)
    """n: answers per reasoning and level; 0 writes reasonings only."""
    one_pass: StrictBool = False
    """Reasoning and answer in one completion, as a trained model writes them; k of these."""
    seed: StrictInt | None = Field(default=None, ge=0, le=MAX_SEED - 10_000)
    """Replicate j is drawn with seed + j; None (faster) lets the server draw."""
    max_tokens: StrictInt | None = Field(default=None, ge=1, le=2**53)
    """Budget: tokens of prompts and completions that the sweep may take in all."""
    max_cost: Number | None = Field(default=None, gt=0)
    """Budget in US dollars, by the prices of its servers."""
    reasonings: ReasoningSelection | None = None
    """The existing reasonings that ``supplied`` and ``ensemble`` start from."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later keys that are not given: older specs keep their hash."""
        return _without_unset(dump(self), "precision", "max_tokens", "max_cost")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [
            f"{key} names {value!r} twice"
            for key in ("formats", "roles", "modes", "models", "answer_models", "precision")
            for value in _repeated(getattr(self, key) or ())
        ]
        for key in ("reasoning_sampling", "answer_sampling"):
            levels: Sequence[SamplingParameters] = getattr(self, key)
            problems += [f"{key} holds one level twice" for _ in _repeated(levels)[:1]]
            if any(level.seed is not None for level in levels):
                problems.append(f"{key} cannot hold a seed: give the sweep's own key seed")
        from_existing = [mode for mode in self.modes if mode in FROM_EXISTING]
        if from_existing and self.reasonings is None:
            problems.append(
                f"mode {from_existing[0]} needs the key reasonings: which existing ones to start"
                " from"
            )
        if self.reasonings is not None and not from_existing:
            problems.append("reasonings is only for the modes supplied and ensemble")
        if self.one_pass and (self.modes != ("reasoning",) or self.answer_models is not None):
            problems.append(
                "one_pass goes with the mode reasoning alone, and without answer_models: one"
                " completion holds both"
            )
        if self.answers == 0 and {"supplied", "vanilla"} & set(self.modes):
            problems.append("answers: 0 leaves nothing to do for the modes supplied and vanilla")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def parse_spec(mapping: Mapping[str, Any], *, where: str = "The sweep spec") -> SweepSpec:
    """Return the spec in ``mapping``.

    Raises:
        UsageError: It is wrong; one sentence for each mistake, all of them at once.
    """
    try:
        return SweepSpec.model_validate(dict(mapping))
    except ValidationError as error:
        mistakes = error.errors()
        # A list with a wrong level is also "too short", since only sound ones were counted.
        inner = {
            location[:n]
            for n in range(1, 9)
            for location in (m["loc"] for m in mistakes)
            if len(location) > n
        }
        problems = "; ".join(
            _sentence(details)
            for details in mistakes
            if not (details["type"] == "too_short" and details["loc"] in inner)
        )
        raise UsageError("{where} is wrong: {problems}.", where=where, problems=problems) from None


def load_spec(path: Path) -> SweepSpec:
    """Return the spec in the YAML file at ``path``; files that it names lie relative to it.

    Raises:
        UsageError: The file cannot be read, is no YAML, or its spec is wrong.
    """
    spec = parse_spec(load_mapping(read_text(path), where=str(path)), where=str(path))
    return _with_files_of(spec, path.parent)


def _with_files_of(spec: SweepSpec, folder: Path) -> SweepSpec:
    changes: dict[str, object] = {}
    for key in ("questions", "reasonings"):
        selection = getattr(spec, key)
        if selection is not None and selection.file is not None:
            try:
                file = (folder / selection.file.expanduser()).resolve()
            except (ValueError, RuntimeError):
                raise UsageError(
                    "{key}.file: {file!r} is no path.", key=key, file=str(selection.file)
                ) from None
            changes[key] = selection.model_copy(update={"file": file})
    return spec.model_copy(update=changes)


def _repeated(values: Sequence[Any]) -> list[Any]:
    return [value for i, value in enumerate(values) if value in values[:i]]


_KEYS: dict[str, type[BaseModel]] = {
    "questions": QuestionSelection,
    "reasonings": ReasoningSelection,
    "reasoning_sampling": SamplingParameters,
    "answer_sampling": SamplingParameters,
}


def _sentence(details: ErrorDetails) -> str:
    location = details["loc"]
    key = ".".join(str(part) for part in location)
    if details["type"] == "extra_forbidden":
        model = _KEYS.get(str(location[0]), SweepSpec) if len(location) > 1 else SweepSpec
        allowed = [name for name in model.model_fields if name != "seed" or model is SweepSpec]
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        meant = f", did you mean {close[0]}?" if close else ""
        return f"{key} is not a key{meant} (allowed: {', '.join(allowed)})"
    message = details["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


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
