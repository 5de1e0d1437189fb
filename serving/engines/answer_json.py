"""The JSON of a server: what strict JSON forbids spoils one text, not the whole answer.

Some servers write half of a surrogate pair where a token ends within a character, or ``NaN`` for a
probability. Strings come without lone surrogates and NUL, which no database of ours holds.
"""

import json
import re
from typing import Any

import orjson

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def parse_json(body: bytes) -> Any:
    """Return what ``body`` holds, its strings sanitised; None where it is no JSON at all."""
    try:
        return orjson.loads(body)  # refuses lone surrogates and NaN; takes whole pairs
    except orjson.JSONDecodeError:
        pass
    try:
        return _sanitised(json.loads(body.decode("utf-8", errors="replace")))
    except (ValueError, RecursionError):
        return None


def storable(text: str) -> str:
    """Return ``text`` with U+FFFD for every character that no database of ours holds."""
    return _UNSTORABLE.sub("\ufffd", text)


def _sanitised(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_sanitised(one) for one in value]
    if isinstance(value, dict):
        return {storable(name): _sanitised(one) for name, one in value.items()}
    return value
