"""All commands of ``q2q``, each with its module loaded."""

from functools import cache
from typing import Any

import typer

from workbench.cli.main import app


@cache
def whole_tree() -> Any:
    """Return the group ``q2q``; it loads a command only when one is typed, here all of them."""
    root: Any = typer.main.get_command(app)
    for name in list(root.commands):
        root.load(name)
    return root
