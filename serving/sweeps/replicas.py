"""The equal servers of one run: who may have an item next, who is left alone, and who is back."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Generic

from db.messages import Message
from serving.engine.client import ServedModel
from serving.engine.messages import EngineUnavailable
from serving.sweeps.engine_loss import EngineLost
from serving.sweeps.item_queue import ItemT
from serving.sweeps.replica import Replica, first_of

log = logging.getLogger(__name__)

LOOK_FOR_LOST_S = 2.0
FAILING_FOR_S = 600.0
"""Where all servers fail whatever they are asked for so long, the run ends."""


class Replicas(Generic[ItemT]):
    """The servers that one run sends to, at least one, and which of them failed which item."""

    def __init__(self, models: Sequence[ServedModel], *, is_interactive: bool) -> None:
        everywhere = zip(*(model.everywhere for model in models), strict=True)
        self._all = [Replica[ItemT](one, is_interactive=is_interactive) for one in everywhere]
        self._is_interactive = is_interactive
        for replica in self._all:
            # Somebody who waits is served by as few servers as will do: there, sweeps give way.
            if not is_interactive or len(self._all) == 1:
                replica.open()
        self._tries: dict[ItemT, Counter[Replica[ItemT]]] = {}
        """Which servers could not do an item, and how often."""
        self._changed = asyncio.Event()
        self._some_at = time.monotonic()
        """When one of them was there last."""

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Replica[ItemT]]:
        return iter(self._all)

    @property
    def present(self) -> list[Replica[ItemT]]:
        """Those that are sent to."""
        return [replica for replica in self._all if not replica.is_away]

    @property
    def why_away(self) -> str | None:
        """Why one of them is left alone; None while all are sent to."""
        away = [replica for replica in self._all if replica.is_away]
        if not away:
            return None
        return Message(
            "running without {n} of {total} servers: {why}",
            n=len(away),
            total=len(self._all),
            why=away[0].why_away,
        )

    async def see_who_is_there(self) -> None:
        """Find out who answers.

        Raises:
            EngineLost: None of several does.
        """
        if len(self._all) == 1:
            self._all[0].tells_health = await self._all[0].client.health()
            return
        there = await asyncio.gather(*(replica.serves() for replica in self._all))
        for replica, serves in zip(self._all, there, strict=True):
            replica.is_away = not serves
        if not any(there):
            raise EngineLost(Message("None of the servers of this model answers."), died=False)

    async def keep_looking(self) -> None:
        """Let servers that were left alone take part again once they are well; leave others.

        Raises:
            EngineUnavailable: All have failed for too long.
        """
        while True:
            await asyncio.sleep(LOOK_FOR_LOST_S)
            await asyncio.gather(*map(self._look_at, self._all))
            if self.present:
                self._some_at = time.monotonic()
            elif (failing_s := time.monotonic() - self._some_at) > FAILING_FOR_S:
                raise EngineUnavailable(
                    "All servers of this model have failed for {minutes:,.0f} min; resume when"
                    " they are well. {why}",
                    minutes=failing_s / 60,
                    why=self._all[0].why_away,
                )

    async def _look_at(self, replica: Replica[ItemT]) -> None:
        if not replica.is_away:
            if not await replica.is_as_found():
                self.leave(replica, replica.changed_weights())
        elif replica.rest_s:
            return
        elif await replica.is_well():
            log.info("The model server at %s is back.", replica.client.endpoint.root)
            replica.is_away = False
            self._changed.set()
        else:  # what it could not do is not the fault of what it was asked
            for tries in self._tries.values():
                del tries[replica]

    def leave(self, replica: Replica[ItemT], why: str) -> None:
        """Send nothing to it until it is well; what is in the air there goes elsewhere."""
        log.warning("A model server is left alone, and the others go on: %s", why)
        replica.is_away, replica.why_away = True, why
        if not replica.is_failing:
            replica.take_back(replica.in_flight)
        self._changed.set()

    def note_success(self, replica: Replica[ItemT], items: Sequence[ItemT]) -> None:
        """Forget who could not do ``items``."""
        replica.succeeded()
        for item in items if self._tries else ():
            self._tries.pop(item, None)

    def note_failure(self, replica: Replica[ItemT], items: Sequence[ItemT], why: str) -> None:
        """Remember that it could not do ``items``; one that fails again and again is left."""
        for item in items:
            self._tries.setdefault(item, Counter())[replica] += 1
        if replica.failed() and not replica.is_away:
            self.leave(replica, why)

    def n_tries(self, item: ItemT) -> int:
        """Return how often the servers together could not do ``item``."""
        tries = self._tries.get(item)
        return tries.total() if tries is not None else 0

    def forget(self, item: ItemT) -> None:
        """Note that ``item`` has come to an end."""
        self._tries.pop(item, None)

    def able(self, item: ItemT) -> list[Replica[ItemT]]:
        """Return the servers that are there, without those that failed ``item`` more often."""
        present = self.present
        tries = self._tries.get(item)
        if tries is None or not present:
            return present
        fewest = min(tries[replica] for replica in present)
        return [replica for replica in present if tries[replica] == fewest]

    async def least_loaded(self, item: ItemT) -> Replica[ItemT]:
        """Return the server that is to have ``item`` next, as soon as one has room."""
        while True:
            able = self.able(item)
            if len(self._all) == 1 and able:
                await able[0].wait_for_room()
                return able[0]
            if free := [replica for replica in able if replica.room > 0]:
                return min(free, key=self._load)
            self._changed.clear()
            waits = [replica.wait_for_room() for replica in able]
            await first_of([*waits, self._changed.wait()])

    def _load(self, replica: Replica[ItemT]) -> tuple[bool, float]:
        is_new = self._is_interactive and not replica.is_open
        return is_new and any(one.is_open for one in self._all), replica.limiter.load

    async def close(self) -> None:
        """Give the share of the servers back."""
        for replica in self._all:
            await replica.close()
