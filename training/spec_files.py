"""Specs that people write: checked, and every mistake told in one sentence."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

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
        raise UsageError("{where} are wrong: {problems}.", where=where, problems=problems) from None


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
