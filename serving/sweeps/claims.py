"""Who is running which slot, within this process: two sweeps never sample one slot twice.

For one event loop: the worker runs all its sweeps in one. Across restarts the store itself tells.
"""

import asyncio
from collections.abc import Iterable


class Claims:
    """Slots that some run has taken and not yet brought to an end."""

    def __init__(self) -> None:
        self._taken: dict[str, asyncio.Event | None] = {}

    def take(self, slot_key: str) -> asyncio.Event | None:
        """Claim ``slot_key``; if somebody has it, return what is set when they let it go."""
        if slot_key not in self._taken:
            self._taken[slot_key] = None
            return None
        held = self._taken[slot_key]
        if held is None:
            held = self._taken[slot_key] = asyncio.Event()
        return held

    def release(self, slot_keys: Iterable[str]) -> None:
        """Let slots go, recorded or not."""
        for key in slot_keys:
            held = self._taken.pop(key, None)
            if held is not None:
                held.set()


_by_store: dict[str, Claims] = {}


def claims_of(store_url: str) -> Claims:
    """Return the claims on the slots of one store."""
    return _by_store.setdefault(store_url, Claims())
