"""Stores results within a second of their coming: one writer, batches in short transactions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from db.errors import StoreBusy
from serving.sweeps.send import EngineLost, Sender

LARGEST_BATCH = 500
LINGER_S, LINGERS = 0.03, 6
"""How long a batch waits for company, and how often while more comes; far below the second in which
a result must be stored."""
FULL_BACKLOG = 4_000
"""Results in memory from which on nothing new is sent."""
LOCK_TRIES = 5

ResultT = TypeVar("ResultT")
StoredT = TypeVar("StoredT")


class Writer(Generic[ResultT, StoredT]):
    """The only writer of a run's results. A context manager: leaving it commits what is left."""

    def __init__(
        self,
        write: Callable[[Sequence[ResultT]], Sequence[StoredT]],
        on_written: Callable[[Sequence[ResultT], Sequence[StoredT]], None],
    ) -> None:
        self._write = write
        """Stores results in one transaction, in a thread; returns something for each."""
        self._on_written = on_written
        self._waiting: list[ResultT] = []
        self._n_writing = 0
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def put(self, results: Sequence[ResultT]) -> None:
        """Take results to be written soon."""
        self._waiting += results
        self._has_work.set()

    async def wait_for_room(self) -> None:
        """Return when the backlog is short enough for new requests to be sent."""
        while len(self._waiting) + self._n_writing >= FULL_BACKLOG:
            self._has_room.clear()
            await self._has_room.wait()

    async def watch(self) -> None:
        """Wait for the writing, which ends only by an error while the run goes on.

        Raises:
            Q2QError: The store cannot be written.
        """
        assert self._task is not None
        await asyncio.shield(self._task)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_writing(), name="writer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closing = True
        self._has_work.set()
        assert self._task is not None
        if error is None:
            await self._task
        else:
            await asyncio.wait([self._task])

    async def _keep_writing(self) -> None:
        while True:
            await self._has_work.wait()
            await self._linger()
            self._has_work.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
                self._n_writing = len(batch)
                stored = await asyncio.to_thread(self._try_to_write, batch)
                self._n_writing = 0
                self._has_room.set()
                self._on_written(batch, stored)
            if self._is_closing:
                return

    async def _linger(self) -> None:
        """Wait for company as long as some comes."""
        for _ in range(LINGERS):
            n_before = len(self._waiting)
            if self._is_closing or n_before >= LARGEST_BATCH:
                return
            await asyncio.sleep(LINGER_S)
            if len(self._waiting) == n_before:
                return

    def _try_to_write(self, batch: Sequence[ResultT]) -> Sequence[StoredT]:
        for tries_left in reversed(range(LOCK_TRIES)):
            try:
                return self._write(batch)
            except StoreBusy:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")


@asynccontextmanager
async def sending(
    senders: Collection[Sender[Any]], writer: Writer[Any, Any]
) -> AsyncIterator[asyncio.TaskGroup]:
    """Have ``senders`` send, and ``writer`` write, for the block; what has arrived is stored.

    Raises:
        EngineLost: (in a group) A server is gone.
        Q2QError: (in a group) The store cannot be written.
    """
    try:
        async with writer, asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(writer.watch())]
            helpers += [tasks.create_task(sender.run(tasks)) for sender in senders]
            yield tasks
            for helper in helpers:
                helper.cancel()
    except BaseExceptionGroup as errors:
        if errors.subgroup(lambda error: isinstance(error, EngineLost) and error.died):
            for sender in senders:
                sender.note_loss()
        raise
    finally:
        for sender in senders:
            await sender.close()
