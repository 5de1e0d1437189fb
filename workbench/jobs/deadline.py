"""A time limit for work that is stopped by an event."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


def too_long(limit_s: float) -> str:
    """Return the sentence about work that its time limit ended."""
    return f"It took longer than {limit_s:g} s and was stopped; what had come by then is there."


@asynccontextmanager
async def until(cancelled: asyncio.Event, limit_s: float | None) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when ``cancelled`` is, or after ``limit_s`` seconds.

    Args:
        cancelled: Set by somebody else.
        limit_s: None sets no limit.
    """
    ended = asyncio.Event()

    async def wait() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(cancelled.wait(), limit_s)
        ended.set()

    waiting = asyncio.create_task(wait())
    try:
        yield ended
    finally:
        waiting.cancel()
