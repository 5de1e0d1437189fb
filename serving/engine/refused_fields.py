"""Which fields of a request a server answers with an error, found out with few requests."""

import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from serving.engine.messages import NEUTRAL

RefusalOf = Callable[[Mapping[str, Any]], Awaitable[str | None]]
"""Sends a request with some fields; returns what the server has against it, or None."""
_SET: Mapping[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "repetition_penalty": 1.05,
    "stop": ["<|stop|>"],
    "stop_token_ids": [3],
}


def set_fields() -> dict[str, Any]:
    """Return the fields that are sent to every server, each with a value that changes something."""
    return {**_SET, "request_id": f"q2q-probe-{uuid.uuid4().hex[:12]}"}


def neutral_fields(refused: Collection[str]) -> dict[str, Any]:
    """Return the sampling parameters at values that change nothing, without those refused."""
    return {name: value for name, value in NEUTRAL.items() if name not in refused}


async def find_refused(refusal_of: RefusalOf, sent: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of ``sent`` that the server refuses, each with what it says against it.

    One request where it takes them all. Fields that it refuses only together (temperature beside
    top_p, say) are added one by one: the later ones are those given up.
    """
    if await refusal_of(sent) is None:
        return {}
    refused = await _halves(refusal_of, dict(sent))
    rest = {name: value for name, value in sent.items() if name not in refused}
    if await refusal_of(rest) is None:
        return refused
    taken: dict[str, Any] = {}
    for name, value in rest.items():
        reason = await refusal_of({**taken, name: value})
        if reason is None:
            taken[name] = value
        else:
            refused[name] = reason
    return refused


async def _halves(refusal_of: RefusalOf, sent: dict[str, Any]) -> dict[str, str]:
    names = list(sent)
    middle = len(names) // 2
    found: dict[str, str] = {}
    for half in (names[:middle], names[middle:]):
        part = {name: sent[name] for name in half}
        reason = await refusal_of(part) if part else None
        if reason is not None:
            found |= {half[0]: reason} if len(half) == 1 else await _halves(refusal_of, part)
    return found
