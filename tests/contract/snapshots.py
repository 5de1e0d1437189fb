"""Snapshots of what others rely on: a JSON file beside each test, compared in plain words.

A change that is meant is written down by one command, and read as a diff before it is committed:

    WRITE_SNAPSHOTS=1 python -m pytest tests/contract/test_command_tree.py
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WRITES = os.environ.get("WRITE_SNAPSHOTS") == "1"


def check_snapshot(name: str, live: dict[str, Any]) -> None:
    """Compare ``live`` with the snapshot ``name``; with ``WRITE_SNAPSHOTS=1``, write it anew."""
    path = HERE / f"{name}.json"
    live = json.loads(json.dumps(live))
    if WRITES:
        path.write_text(f"{json.dumps(live, ensure_ascii=False, indent=1)}\n", "utf-8")
    differences = list(compare(json.loads(path.read_text("utf-8")), live))
    assert not differences, (
        "\n".join(["What others rely on has changed:", *differences])
        + f"\nWhere that is meant: WRITE_SNAPSHOTS=1 python -m pytest tests/contract/test_{name}.py"
    )


def compare(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield a sentence for each place where ``new`` is another than ``old``."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            inner = f"{place} › {key}" if place else key
            if key not in new:
                yield f"- missing: {inner} (was {_short(old[key])})"
            elif key not in old:
                yield f"- new: {inner} = {_short(new[key])}"
            else:
                yield from compare(old[key], new[key], inner)
    elif old != new and not _is_one_of(new, old):
        yield f"- changed: {place}: was {_short(old)}, is {_short(new)}"


def _is_one_of(new: Any, old: Any) -> bool:
    """Say whether ``old`` names alternatives and ``new`` is one: which of them occur is chance."""
    return isinstance(old, str) and isinstance(new, str) and new in old.split(" or ")


def shape(value: Any) -> Any:
    """Return keys and types of a JSON value; the items of a list are shown as one."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [shape(item) for item in value]
        return {"[]": _either(items)} if items else "empty list"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else "text"


def _either(shapes: list[Any]) -> Any:
    """Return one shape for all: the union of keys, the names of types that occur."""
    if any(isinstance(one, dict) for one in shapes):
        keyed = [one for one in shapes if isinstance(one, dict)]
        keys = dict.fromkeys(key for one in keyed for key in one)
        merged = {key: _either([one[key] for one in keyed if key in one]) for key in keys}
        others = {name for one in shapes if isinstance(one, str) for name in one.split(" or ")}
        return merged | ({"or": " or ".join(sorted(others))} if others - {"empty list"} else {})
    return " or ".join(sorted({name for one in shapes for name in one.split(" or ")}))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"
