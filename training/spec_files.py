"""Specs that people write in YAML: read, and every mistake told in one sentence."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from db.errors import UsageError

Spec = TypeVar("Spec", bound=BaseModel)


def validated(model: type[Spec], mapping: Mapping[str, Any], *, where: str) -> Spec:
    """Return ``mapping`` as a ``model``.

    Raises:
        UsageError: It is wrong; one sentence for each mistake, all of them at once.
    """
    try:
        return model.model_validate(dict(mapping))
    except ValidationError as error:
        problems = "; ".join(_sentence(model, details) for details in error.errors())
        raise UsageError(f"{where} are wrong: {problems}.") from None


def read_mapping(text: str, *, where: str) -> dict[str, Any]:
    """Return the keys and values of a YAML text.

    Raises:
        UsageError: It is no YAML, or holds something else.
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
    return {str(key): value for key, value in content.items()}


def read_text(path: Path) -> str:
    """Return the text of a spec file.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not in UTF-8; save it in that encoding.") from None


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
    """Return the model of the part of a spec that lies at ``location``."""
    for name in location:
        annotation = model.model_fields[str(name)].annotation
        options = (annotation, *get_args(annotation))
        model = next(one for one in options if isinstance(one, type) and issubclass(one, BaseModel))
    return model
