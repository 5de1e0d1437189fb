"""A sweep spec while a person writes it: form values and YAML are two views of one mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from db.input_text import load_mapping
from serving.engine.messages import SamplingParameters
from serving.sweeps.spec import QuestionSelection, ReasoningSelection, SweepSpec, parse_spec

Draft = dict[str, Any]

STARTING_DRAFT: Mapping[str, Any] = {
    "variants": 3,
    "answers": 2,
    "reasoning_sampling": [{"temperature": 0.8, "top_p": 0.95, "max_tokens": 256}],
    "answer_sampling": [{"temperature": 0.7, "top_p": 0.95, "max_tokens": 256}],
}
"""What a new draft holds besides its name; everything else is the spec's own default."""

FIRST_SAMPLING = ("temperature", "top_p", "max_tokens")
"""What people look for first; a spec always says them."""
MORE_SAMPLING = (
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
SAMPLING_COLUMNS = FIRST_SAMPLING + MORE_SAMPLING


def new_draft(name: str) -> Draft:
    """Return a draft that can run as it is."""
    return {"name": name, **STARTING_DRAFT}


def to_yaml(draft: Mapping[str, Any]) -> str:
    """Return ``draft`` as people write a spec file."""
    return yaml.safe_dump(dict(draft), allow_unicode=True, sort_keys=False, width=88)


def from_yaml(text: str) -> Draft:
    """Return the mapping in ``text``, whether or not it is a valid spec.

    Raises:
        UsageError: It is no YAML, or no mapping.
    """
    return load_mapping(text, where="The spec")


def check(draft: Mapping[str, Any], where: str) -> SweepSpec:
    """Return the spec that ``draft`` stands for.

    Raises:
        UsageError: It is wrong; every mistake is named.
    """
    return parse_spec(draft, where=where)


def compact(spec: SweepSpec) -> Draft:
    """Return ``spec`` without what equals a default, for the form and for a copy of a sweep."""
    return spec.model_dump(mode="json", exclude_defaults=True)


def sampling_rows(levels: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Return sampling levels as rows of the form's table, every column filled."""
    defaults = SamplingParameters().resolved()
    return [
        {column: level.get(column, defaults[column]) for column in SAMPLING_COLUMNS}
        for level in levels or [{}]
    ]


def sampling_levels(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the form's table as sampling levels; cells left empty take the default.

    The first columns are always written, so that a spec shows what it does.
    """
    defaults = SamplingParameters().resolved()
    levels = []
    for row in rows:
        given = {name: row[name] for name in SAMPLING_COLUMNS if row.get(name) is not None}
        level = {
            name: _number(value, defaults[name])
            for name, value in given.items()
            if name in FIRST_SAMPLING or value != defaults[name]
        }
        levels.append(level)
    return levels


def _number(value: float | int, like: float | int | None) -> float | int:
    return int(value) if isinstance(like, int) else float(value)


def numbers(text: str) -> list[int | str]:
    """Return ids that a person typed, separated by commas or spaces: ``12``, ``q12``."""
    return [part for part in text.replace(",", " ").split() if part]


def question_selection(draft: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the draft says of its questions, known keys only."""
    return _known(draft.get("questions"), QuestionSelection)


def reasoning_selection(draft: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the draft says of existing reasonings, known keys only."""
    return _known(draft.get("reasonings"), ReasoningSelection)


def _known(
    part: object, model: type[QuestionSelection] | type[ReasoningSelection]
) -> Mapping[str, Any]:
    if not isinstance(part, Mapping):
        return {}
    return {key: value for key, value in part.items() if key in model.model_fields}


def without_empty(values: Mapping[str, Any]) -> Draft:
    """Return ``values`` without the keys that say nothing."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {}, ())}
