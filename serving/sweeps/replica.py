"""One of the equal servers that a run sends to: its share of the room, and what is in the air."""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic

from db.messages import Message
from db.settings import masked
from serving.engine.client import CompletionClient, RetryPolicy, ServedModel
from serving.engine.limiter import MAX_INTERACTIVE, Lane, limiter_of
from serving.engine.messages import (
    Busy,
    CompletionRequest,
    EngineError,
    EngineUnavailable,
    RequestFailed,
    SamplingParameters,
    ServerGaveUp,
)
from serving.formats.chat_template import ChatPrompt
from serving.sweeps.item_queue import Item, ItemT

_BUSY = RetryPolicy()
_SMALL = "The quick brown fox"
FAILURES_IN_A_ROW = 3
"""After so many, no matter what was asked, the server is held to be at fault and left alone."""
ALONE_S, ALONE_AT_MOST_S = 1.0, 30.0
"""For how long: doubled every time until it does something again (outlier ejection)."""
WELL_WITHIN_S = 30.0
"""How long a server may take for one token before it is sent to again."""
LIMITED_FOR_S = 3600.0
"""A server that lets nothing through for so long, or asks for as long a pause, ends the run."""


class Replica(Generic[ItemT]):
    """A server as one run uses it. Servers of one pool differ in nothing but place and pace."""

    def __init__(self, models: Iterable[ServedModel], *, is_interactive: bool) -> None:
        self.models: Mapping[int, ServedModel] = {one.model_version_id: one for one in models}
        """What it offers, by version."""
        first = next(iter(self.models.values()))
        self.client: CompletionClient = first.client
        self.limiter = limiter_of(first)
        self.is_away = False
        """Nothing is sent to it until it is well again."""
        self.why_away = ""
        """A sentence; of one that is away."""
        self.tells_health = True
        self.exchanges: dict[asyncio.Task[None], Sequence[ItemT]] = {}
        """Requests in the air, the oldest first."""
        self.preempted: set[asyncio.Task[None]] = set()
        """Of these, those that are taken back to be sent again."""
        self._is_interactive = is_interactive
        self._lane: Lane | None = None
        self._rests_until = 0.0
        self._n_busy = 0
        self._n_failed = 0
        """Requests that failed in a row."""
        self._n_alone = 0
        """How often it was left alone since it did something."""
        self._limited_since: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was sent to before."""
        return self._lane is not None

    @property
    def room(self) -> int:
        """Sequences that may be sent to it now."""
        if self.is_away or self.rest_s:
            return 0
        return MAX_INTERACTIVE if self._lane is None else self.limiter.room(self._lane)

    @property
    def rest_s(self) -> float:
        """Seconds for which nothing is sent to it: it said that it is too busy."""
        return max(0.0, self._rests_until - time.monotonic())

    @property
    def in_flight(self) -> int:
        """Sequences of this run, sent and not yet answered."""
        return 0 if self._lane is None else self._lane.in_flight

    def open(self) -> None:
        """Take part in the sharing of the server; an interactive run makes others give way."""
        if self._lane is None:
            preempt = None if self._is_interactive else self.take_back
            self._lane = self.limiter.open_lane(interactive=self._is_interactive, preempt=preempt)

    async def close(self) -> None:
        """Give the share back."""
        if self._lane is not None:
            await self.limiter.close_lane(self._lane)

    async def wait_for_room(self) -> None:
        """Return when something may be sent to it."""
        while self.rest_s:
            await asyncio.sleep(self.rest_s)
        if self._lane is not None:
            await self.limiter.wait_for_room(self._lane)

    def sent(self, n_sequences: int) -> None:
        """Note what was sent."""
        self.open()
        assert self._lane is not None
        self.limiter.sent(self._lane, n_sequences)

    def returned(self, n_sequences: int, n_tokens: int) -> None:
        """Note that a request has come back, with or without texts."""
        assert self._lane is not None
        if n_tokens:
            self._limited_since = None
        self.limiter.returned(self._lane, n_sequences, n_tokens)

    def rest(self, error: Busy) -> None:
        """Leave the server alone for a while: it says that it is too busy."""
        self._n_busy += not self.rest_s  # what was in the air tells the same once more
        self._rests_until = time.monotonic() + _BUSY.pause_s(self._n_busy, error)

    def wait_out(self, error: Busy) -> ServerGaveUp | None:
        """Leave the server alone until its limits let requests through again.

        Returns:
            What to tell people where that takes too long, or has.
        """
        now = time.monotonic()
        self._limited_since = self._limited_since or now
        waits_s = max(error.retry_after_s or 0.0, now - self._limited_since)
        if waits_s > LIMITED_FOR_S:
            return ServerGaveUp(
                "{problem} Its limits let nothing through for {minutes:,.0f} min; resume later.",
                problem=error,
                minutes=waits_s / 60,
            )
        self.rest(error)
        if error.retry_after_s is not None:  # to the second, and not all at the same moment
            until = now + error.retry_after_s * random.uniform(1.0, 1.05)
            self._rests_until = max(self._rests_until, until)
        return None

    def take_back(self, n_sequences: int) -> None:
        """Take back the youngest requests, in which the least work is lost."""
        for exchange, items in reversed(list(self.exchanges.items())):
            if n_sequences <= 0:
                return
            n_sequences -= size_of(items)
            if exchange is not asyncio.current_task():
                self.preempted.add(exchange)
                exchange.cancel()

    @property
    def is_failing(self) -> bool:
        """Whether it failed so often in a row that the fault is held to be its own."""
        return self._n_failed >= FAILURES_IN_A_ROW

    def failed(self) -> bool:
        """Note that a request failed there; tell whether it is to be left alone from now on."""
        self._n_failed += 1
        if self._n_failed == FAILURES_IN_A_ROW:
            self._stay_away()
        return self.is_failing

    def succeeded(self) -> None:
        """Note that a request brought what was asked for."""
        self._n_busy = self._n_failed = self._n_alone = 0

    def _stay_away(self) -> None:
        pause_s = min(ALONE_S * 2.0**self._n_alone, ALONE_AT_MOST_S)
        self._n_alone += 1
        self._rests_until = max(self._rests_until, time.monotonic() + pause_s)

    async def is_as_found(self) -> bool:
        """Tell whether it offers what a probe found there, as far as that is known."""
        offers = [one.offer for one in self.models.values() if one.offer is not None]
        return all([await offer.holds() for offer in offers])

    def changed_weights(self) -> Message:
        """Return the sentence on a server that does so no longer."""
        return Message(
            "The model server at {where} offers other weights than before, or does not say which.",
            where=masked(self.client.endpoint.root),
        )

    async def serves(self) -> bool:
        """Tell whether it answers and offers all its models (again)."""
        self.tells_health = await self.client.health()
        with suppress(EngineError):
            offered = {one.name for one in await self.client.models()}
            names = {one.served_name for one in self.models.values()}
            if offered.issuperset(names) and await self.is_as_found():
                return True
            self.why_away = self.changed_weights()
        return False

    async def is_well(self) -> bool:
        """Tell whether it may be sent to again; where not, it is left alone for longer."""
        if not await self.serves():
            return False
        if self.is_failing:
            if not await self._writes():
                self._stay_away()
                return False
            self._n_failed = 0
        return True

    async def _writes(self) -> bool:
        """Tell whether it completes a small prompt."""
        model = next(iter(self.models.values()))
        request = CompletionRequest(
            model=model.served_name,
            prompts=[ChatPrompt("", _SMALL) if model.takes_messages else _SMALL],
            sampling=SamplingParameters(temperature=1.0, top_p=1.0, max_tokens=1),
        )
        try:
            async with asyncio.timeout(WELL_WITHIN_S):
                await self.client.complete(request, retry=RetryPolicy(attempts=1))
        except (EngineUnavailable, RequestFailed, TimeoutError):
            return False
        except EngineError:  # it has an opinion on so small a prompt
            return True
        return True


def size_of(items: Sequence[Item]) -> int:
    """Return the number of completions of ``items``."""
    return sum(item.size for item in items)


async def first_of(waits: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Return when one of ``waits`` has ended; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
