"""A Typer group whose commands keep the lines of their examples."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import typer

from db.errors import UsageError
from workbench.cli.output import one_document

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_LARGEST = 2**63
"""The first whole number that is too large for the store."""
_EXAMPLE = "\n\n    Example:\n"
_UNWRAPPED = "\n\n    \b\n    Example:\n"
"""The backspace keeps the paragraph from being wrapped."""


class CommandGroup(typer.Typer):
    """Plain help without a traceback printer of its own; see ``workbench.cli.main``."""

    def __init__(self, summary: str, *, name: str | None = None) -> None:
        super().__init__(
            name=name,
            help=summary,
            no_args_is_help=True,
            add_completion=False,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
        )

    def as_command(
        self, name: str | None = None, *, hidden: bool = False
    ) -> Callable[[FunctionT], FunctionT]:
        """Make a command of a function; its docstring is the help."""

        def register(function: FunctionT) -> FunctionT:
            function.__doc__ = (function.__doc__ or "").replace(_EXAMPLE, _UNWRAPPED)
            self.command(name, hidden=hidden)(_with_one_document(function))
            return function

        return register


def _with_one_document(function: FunctionT) -> Callable[..., Any]:
    """Let a command that was called with ``--json`` write one JSON value, or none."""

    @wraps(function)
    def command(**options: Any) -> Any:
        _check_numbers(options)
        if not options.get("as_json"):
            return function(**options)
        with one_document():
            return function(**options)

    return command


def _check_numbers(options: Mapping[str, Any]) -> None:
    """Refuse numbers that no store can hold and no clock can count."""
    for name, value in options.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            is_number = isinstance(one, int | float) and not isinstance(one, bool)
            if is_number and not -_LARGEST < one < _LARGEST:
                option = name.strip("_").replace("_", "-")
                raise UsageError(f"{option}: {one} is no number that can be used; give a smaller.")
