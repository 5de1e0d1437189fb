"""Specs that people write: checked, and every mistake told in one sentence."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from db.errors import UsageError

Spec = TypeVar("Spec", bound=BaseModel)


def validated(
    model: type[Spec], mapping: Mapping[str, Any], template: str, /, **values: object
) -> Spec:
    """Return ``mapping`` as a ``model``.

    Args:
        model: What it is to be.
        mapping: As people gave it.
        template: The sentence that tells the mistakes, which are its ``{problems}``.
        **values: What else is in the sentence.

    Raises:
        UsageError: It is wrong; all mistakes at once.
    """
    try:
        return model.model_validate(dict(mapping))
    except ValidationError as error:
        problems = "; ".join(_mistake(model, details) for details in error.errors())
        raise UsageError(template, problems=problems, **values) from None


def _mistake(model: type[BaseModel], details: ErrorDetails) -> str:
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
        field = model.model_fields.get(str(name))  # places in lists and kinds of unions are none
        model = next(_models_in(field.annotation), model) if field else model
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, also within lists and choices."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models_in(one)
