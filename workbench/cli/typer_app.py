"""A Typer group whose commands keep the lines of their examples."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import typer

from workbench.cli.output import one_document

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

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
        if not options.get("as_json"):
            return function(**options)
        with one_document():
            return function(**options)

    return command
