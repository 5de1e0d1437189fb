"""Whether two servers hold the same weights: how likely each finds the words of a fixed text.

The same weights differ here by what arithmetic in another order does (some hundredths of a nat a
token between devices and kernels), other weights by whole nats. Precisions of one model lie too
close to that to be told apart for sure: people say in which one a server serves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

TEXT = (
    "The library at the harbour opens at nine. Visitors who arrive by boat leave their bags with"
    " the keeper, climb forty steps, and find twelve rooms of maps; the oldest of them shows a"
    " coast that the sea has taken since. 図書館は港のそばにあります。"
)
MAX_GAP = 0.15
"""Nats a token, on average, from which weights are held to be others."""


def fingerprint(answer: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the logarithms of a prompt's tokens from vLLM's answer; empty if it tells none."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    listed = first.get("prompt_logprobs") if isinstance(first, dict) else None
    found = []
    for entry in listed[1:] if isinstance(listed, list) else ():
        values = list(entry.values()) if isinstance(entry, dict) else []
        value = values[0].get("logprob") if values and isinstance(values[0], dict) else None
        if not isinstance(value, int | float):
            return ()
        found.append(round(float(value), 3))
    return tuple(found)


def gap(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return how far two fingerprints are apart, in nats a token; infinite for other tokens.

    None where one is not known.
    """
    if not one or not other:
        return None
    if len(one) != len(other):
        return float("inf")
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
