"""Rules of a dataset read from YAML or a form, checked as a whole; all mistakes are told."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from db.errors import UsageError
from training.datasets.rules import DpoRules, KtoRules, Rules, SftRules

_KINDS: dict[str, type[SftRules] | type[DpoRules] | type[KtoRules]] = {
    "sft": SftRules,
    "dpo": DpoRules,
    "kto": KtoRules,
}


def parse_rules(mapping: Mapping[str, Any], *, where: str = "The rules") -> Rules:
    """Return the rules in ``mapping``.

    Raises:
        UsageError: They are wrong; one sentence for each mistake, all of them at once.
    """
    kind = mapping.get("kind", "sft")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UsageError(f"{where}: kind is {kind!r}; choose one of {', '.join(_KINDS)}.")
    model = _KINDS[kind]
    try:
        return model.model_validate(dict(mapping))
    except ValidationError as error:
        problems = "; ".join(_sentence(model, details) for details in error.errors())
        raise UsageError(f"{where} are wrong: {problems}.") from None


def parse_yaml(text: str, *, where: str = "The rules") -> Rules:
    """Return the rules in a YAML text.

    Raises:
        UsageError: It is no YAML, or its rules are wrong.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{where}{line}: this is no YAML; check indentation and colons.") from None
    except (ValueError, RecursionError):  # e.g. a date that no calendar has, or 10,000 brackets
        raise UsageError(
            f"{where}: a value that YAML cannot read; check dates and brackets."
        ) from None
    if not isinstance(content, dict):
        raise UsageError(f"{where} must hold keys and values, such as `name: first`.")
    return parse_rules({str(key): value for key, value in content.items()}, where=where)


def load_rules(path: Path) -> Rules:
    """Return the rules in the YAML file at ``path``; a file that they name lies relative to it.

    Raises:
        UsageError: The file cannot be read, is no YAML, or its rules are wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not in UTF-8; save it in that encoding.") from None
    rules = parse_yaml(text, where=f"The rules in {path}")
    if rules.questions.file is None:
        return rules
    file = (path.parent / rules.questions.file.expanduser()).resolve()
    return rules.model_copy(update={"questions": rules.questions.model_copy(update={"file": file})})


def as_yaml(rules: Rules) -> str:
    """Return rules as the YAML that a person would write: what is at its default is left out."""
    told = {"name": rules.name, "kind": rules.kind}
    rest = rules.model_dump(mode="json", exclude_defaults=True, exclude={"name", "kind"})
    return yaml.safe_dump(told | rest, allow_unicode=True, sort_keys=False)


def _sentence(model: type[BaseModel], details: ErrorDetails) -> str:
    location = details["loc"]
    key = ".".join(str(part) for part in location)
    if details["type"] == "extra_forbidden":
        allowed = list(_part_at(model, location[:-1]).model_fields)
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        meant = f", did you mean {close[0]}?" if close else ""
        return f"{key} is not a key{meant} (allowed: {', '.join(allowed)})"
    message = details["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _part_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model of the part of the rules that lies at ``location``."""
    for name in location:
        annotation = model.model_fields[str(name)].annotation
        options = (annotation, *get_args(annotation))
        model = next(one for one in options if isinstance(one, type) and issubclass(one, BaseModel))
    return model
