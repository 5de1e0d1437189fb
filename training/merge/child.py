"""What the child processes share: the spec they get, and how they tell progress and result."""

import json
import sys
from collections.abc import Callable
from typing import Any

from db.errors import Q2QError

_OUT = sys.stdout


def tell(done: int, total: int | None, message: str) -> None:
    """Tell the parent how far the work is."""
    _write({"done": done, "total": total, "message": message})


def serve(work: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Read the spec from stdin, do the work, give the result or a sentence; return the exit code.

    Anything else that goes wrong is a bug: its trace goes to stderr, which is the log.
    """
    sys.stdout = sys.stderr
    spec = json.load(sys.stdin)
    try:
        result = work(spec)
    except Q2QError as error:
        _write({"error": str(error)})
        return error.exit_code
    _write({"result": result})
    return 0


def _write(value: dict[str, Any]) -> None:
    _OUT.write(json.dumps({"q2q": value}) + "\n")
    _OUT.flush()
