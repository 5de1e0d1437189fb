"""How work is asked to stop: an ``asyncio.Event`` that is set, and ``Cancelled`` where it did.

A job's context holds the event; whoever works awaits ``unless_cancelled`` (or passes the event on,
e.g. to ``db.child_process.run_child``). A time limit is ``asyncio.timeout`` around the work.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from db.errors import Q2QError

ResultT = TypeVar("ResultT")


class Cancelled(Exception):
    """The work was asked to stop, and has; what it keeps is up to it."""


class LimitReached(Q2QError):
    """Work came to the limit that people set for it, and can go on with a larger one."""


async def unless_cancelled(
    work: Coroutine[Any, Any, ResultT], cancelled: asyncio.Event | None
) -> ResultT:
    """Return the result of ``work``; once ``cancelled`` is set it is cut off and waited for.

    Raises:
        Cancelled: ``cancelled`` was set first.
    """
    task = asyncio.create_task(work)
    stop = asyncio.create_task((cancelled or asyncio.Event()).wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Cancelled
        return task.result()
    finally:
        stop.cancel()
        task.cancel()
        await asyncio.wait({task, stop})
