"""How work is asked to stop: an ``asyncio.Event`` that is set, and ``Cancelled`` where it did.

A job's context holds the event; whoever works awaits ``unless_cancelled`` (or passes the event on,
e.g. to ``db.child_process.run_child``). A time limit is ``asyncio.timeout`` around the work.

A thread cannot be stopped: what it claims in the store after its task was cancelled would belong to
nobody. ``in_thread`` waits for its end, and ``until_stored`` lets go whatever happens.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from db.database import Database
from db.errors import Q2QError, StoreBusy

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")
TRY_AGAIN_S = 1.0
"""Rest between two tries to write to a store that is away."""
_going_on: set[asyncio.Task[Any]] = set()


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


async def in_thread(work: Callable[..., ResultT], *arguments: Any) -> ResultT:
    """Return the result of ``work`` in a thread; a caller that is cancelled waits for its end."""
    thread = asyncio.create_task(asyncio.to_thread(work, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not thread.done():
        try:
            await asyncio.wait({thread})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return thread.result()
    thread.exception()  # takes note of it
    raise cancelled


async def regardless(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return the result of ``work``, which goes on when the caller is cancelled."""
    task = asyncio.create_task(work)
    _going_on.add(task)
    task.add_done_callback(_going_on.discard)
    return await asyncio.shield(task)


async def until_stored(
    database: Database, write: Callable[..., ResultT], *arguments: Any
) -> ResultT:
    """Return the result of ``write`` in a thread, tried again as long as the store is away.

    Raises:
        StoreBusy: This process is about to end: its lease frees then what is left.
    """
    while True:
        try:
            return await in_thread(write, *arguments)
        except StoreBusy as error:
            if not database.waits_for_server:
                raise
            log.warning("%s", error)
            await asyncio.sleep(TRY_AGAIN_S)
