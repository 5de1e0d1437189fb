"""What the command line is made of: groups of commands, loaded when one of them is typed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

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

    def __init__(
        self,
        summary: str = "",
        *,
        name: str | None = None,
        lazy: Mapping[str, "Lazy"] | None = None,
    ) -> None:
        super().__init__(
            name=name,
            help=summary,
            cls=None if lazy is None else _lazy_group(lazy),
            callback=None if lazy is None else _no_options,
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


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command, or a group of them, is defined."""

    module: str
    """Module and attribute of its `CommandGroup`, such as ``workbench.cli.sweep:app``."""
    summary: str
    """Its line in the help of the group above."""
    hidden: bool = False


class LazyGroup(TyperGroup):
    """A group that imports the module of a command when it is typed, and none for its own help."""

    lazy: Mapping[str, Lazy] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, help=one.summary, hidden=one.hidden)
            for name, one in self.lazy.items()
        }

    def load(self, name: str) -> Any:
        """Return the command ``name``, its module imported."""
        module, _, attribute = self.lazy[name].module.partition(":")
        command = get_command(getattr(import_module(module), attribute))
        if attribute == "top":
            command = getattr(command, "commands", {}).get(name, command)
        command.name, command.help = name, command.help or self.lazy[name].summary
        self.commands[name] = command
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that ``args`` begins with."""
        if args and args[0] in self.lazy:
            self.load(args[0])
        return super().resolve_command(ctx, args)


def _no_options() -> None:
    """Stand for the options of a group that has none: Typer makes no empty group."""


def _lazy_group(lazy: Mapping[str, Lazy]) -> type[LazyGroup]:
    return type("Commands", (LazyGroup,), {"lazy": lazy})


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
                raise UsageError(
                    "{option}: {one} is no number that can be used; give a smaller.",
                    option=option,
                    one=one,
                )
