"""Sends items to equal servers as their limiters allow, and goes on when one of them is lost.

Knows nothing of what is sent: sweeps and scoring say how items become a request, and what its
answer means. An item is some completions of one prompt; items of one kind can share a request,
and where that fails each is tried alone.
"""

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Generic

from db.errors import Q2QError
from db.messages import Message
from serving.engine.client import RetryPolicy, ServedModel
from serving.engine.messages import (
    Busy,
    CompletionRequest,
    CompletionResult,
    EngineUnavailable,
    RequestFailed,
    RequestRefused,
    ServerGaveUp,
)
from serving.sweeps.engine_loss import EngineLost
from serving.sweeps.item_queue import ItemQueue, ItemT, until
from serving.sweeps.replica import Replica, size_of
from serving.sweeps.replicas import Replicas

SUSPECT_AFTER, GUILTY_AFTER = 2, 3
"""Server losses after which a prompt is sent alone, and after which it counts as failed."""
ONCE = RetryPolicy(attempts=1)
MAX_TRIES = RetryPolicy().attempts
"""Attempts at an item by all servers of a pool together, where these are fewer."""


class Sender(ABC, Generic[ItemT]):
    """Sends the items of one run to the servers of its models. Subclasses say what items are.

    Servers that are equal share one queue: what is next goes to the one that is least loaded for
    its size. When one is lost, what was in the air there is asked again elsewhere, and it takes
    part again once it is back; the run is told only when none is left.
    """

    max_items = 32
    """Items in one request."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        *,
        losses: Counter[str],
        changed: asyncio.Event,
        priority: int,
    ) -> None:
        self.priority = priority
        self._can_group = models[0].capabilities.prompt_list
        self._losses = losses
        """Prompt → servers that were lost while they worked on it."""
        self._first, self._later = ItemQueue[ItemT](), ItemQueue[ItemT]()
        self._replicas = Replicas[ItemT](models, is_interactive=priority < 0)
        self._changed = changed
        """Is set whenever something is queued, taken, or has come back."""
        self._in_air: set[ItemT] = set()
        self._end: Q2QError | None = None
        """Why nothing more is sent; raised once all that was sent has come back."""
        self._run_id = uuid.uuid4().hex[:12]
        self._numbers = count(1)

    @abstractmethod
    def request(
        self, items: Sequence[ItemT], request_id: str, server: Mapping[int, ServedModel]
    ) -> CompletionRequest:
        """Return what is sent for ``items``, which have one ``request_key``, to ``server``."""

    @abstractmethod
    def on_result(
        self, items: Sequence[ItemT], result: CompletionResult, server: Mapping[int, ServedModel]
    ) -> None:
        """Take the answer of ``server`` to a request."""

    @abstractmethod
    def on_failure(
        self,
        item: ItemT,
        error: str,
        request_id: str | None,
        server: Mapping[int, ServedModel] | None,
    ) -> None:
        """Take the sentence on why ``item``, sent alone, has no result."""

    async def wait_for_room(self) -> None:
        """Return when results that come may be stored soon enough."""

    async def admitted(self, items: Sequence[ItemT], server: Mapping[int, ServedModel]) -> bool:
        """Tell whether ``items`` may be sent together now, once that is known."""
        return True

    def came_back(self, items: Sequence[ItemT]) -> None:
        """Note that a request is in the air no more."""

    def end_with(self, error: Q2QError | None) -> None:
        """Send nothing more if there is an ``error``, raised once all that was sent is back."""
        self._end = self._end or error
        self._changed.set()

    @property
    def in_flight(self) -> int:
        """Sequences sent and not yet answered."""
        return sum(replica.in_flight for replica in self._replicas)

    @property
    def rest_s(self) -> float:
        """Seconds until any of the servers may be sent to again."""
        return min(replica.rest_s for replica in self._replicas)

    @property
    def why_away(self) -> str | None:
        """Which servers are left alone, and why, if any are while others go on."""
        return self._replicas.why_away

    @property
    def wants_more(self) -> bool:
        """Whether the queue is shorter than what the servers may soon take."""
        target = sum(replica.limiter.target for replica in self._replicas.present)
        return self._n_queued < target / 2 + 1

    @property
    def _n_queued(self) -> int:
        return self._first.n_sequences + self._later.n_sequences

    def put(self, items: Sequence[ItemT]) -> None:
        """Queue items, but for those whose prompt took the server down again and again."""
        for item in items:
            losses = self._losses[item.prompt_hash]
            if losses >= GUILTY_AFTER:
                error = Message(
                    "The model server was lost {n} times while it worked on this prompt.", n=losses
                )
                self.on_failure(item, error, None, None)
            else:
                item.is_alone |= losses >= SUSPECT_AFTER
                self._queue(item)

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Send what is queued; ends by being cancelled.

        Raises:
            EngineLost: (in a group) Nothing answers, or no server has these models any more.
            Q2QError: (in a group) What ``end_with`` was told; all that was sent has come back.
        """
        await self._replicas.see_who_is_there()
        async with asyncio.TaskGroup() as own:
            own.create_task(self._keep_sending(tasks))
            if len(self._replicas) > 1:
                own.create_task(self._replicas.keep_looking())

    async def _keep_sending(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await until(self._changed, lambda: bool(self._first or self._later or self._end))
            await self.wait_for_room()
            if self._end is not None:
                await until(self._changed, lambda: not self._in_air)
                raise self._end
            replica = await self._replicas.least_loaded((self._first or self._later).first())
            queue = self._first or self._later
            if replica not in self._replicas.able(queue.first()):
                continue
            items = queue.take(self._request_size(replica))
            if not await self.admitted(items, replica.models):
                for item in items:
                    self._queue(item)
                continue
            is_suspect = self._losses[items[0].prompt_hash] >= SUSPECT_AFTER
            if is_suspect:
                await until(self._changed, lambda: not self._in_air)
            replica.sent(size_of(items))
            self._in_air.update(items)
            tasks.create_task(self._exchange(replica, items))
            self._changed.set()
            if is_suspect:
                await until(self._changed, lambda: not self._in_air)

    def _request_size(self, replica: Replica[ItemT]) -> int:
        """Return how many sequences the next request carries, so that all servers have work."""
        if not self._can_group:
            return 1
        share = -(-self._n_queued // max(1, len(self._replicas.present)))
        return min(replica.limiter.group_size, replica.room, self.max_items, share)

    async def wait_until_short(self) -> None:
        """Return when more may be queued."""
        await until(self._changed, lambda: self.wants_more)

    async def wait_until_idle(self) -> None:
        """Return when all that was queued has come to an end."""
        await until(self._changed, lambda: not (self._first or self._later or self._in_air))

    async def close(self) -> None:
        """Give the share of the servers back."""
        await self._replicas.close()

    def note_loss(self) -> None:
        """Remember which prompts were in the air when the server was lost."""
        self._losses.update({item.prompt_hash for item in self._in_air})

    def _queue(self, item: ItemT) -> None:
        (self._first if item.goes_first else self._later).put(item)
        self._changed.set()

    async def _exchange(self, replica: Replica[ItemT], items: Sequence[ItemT]) -> None:
        """Send one request and hand what comes of it on; items stay in the air if all is lost."""
        task = asyncio.current_task()
        assert task is not None
        replica.exchanges[task] = items
        n_tokens = 0
        try:
            n_tokens = await self._complete(replica, items)
        except asyncio.CancelledError:
            if task not in replica.preempted:
                raise
            self.put(items)
        except EngineLost as lost:
            if not self._goes_on_without(replica, lost):
                raise
            self.put(items)
        finally:
            del replica.exchanges[task]
            self.came_back(items)
            replica.preempted.discard(task)
            replica.returned(size_of(items), n_tokens)
        self._in_air.difference_update(items)
        self._changed.set()

    def _goes_on_without(self, replica: Replica[ItemT], lost: EngineLost) -> bool:
        """Tell whether other servers are left; what was sent to ``replica`` then goes there."""
        if replica.is_away:
            return True
        if all(one.is_away for one in self._replicas if one is not replica):
            return False
        if lost.died:
            in_air = [item for items in replica.exchanges.values() for item in items]
            self._losses.update({item.prompt_hash for item in in_air})
        self._replicas.leave(replica, str(lost))
        return True

    async def _complete(self, replica: Replica[ItemT], items: Sequence[ItemT]) -> int:
        """Return the tokens of the answer; 0 where there is none, which is then dealt with."""
        request_id = f"q2q-{self._run_id}-{next(self._numbers)}"
        request = self.request(items, request_id, replica.models)
        try:
            if len(self._replicas) == 1:
                result = await replica.client.complete(request)
            else:  # what one server cannot do, another one may
                result = await replica.client.complete(request, retry=ONCE)
        except ServerGaveUp as error:
            self.end_with(error)
            return 0
        except (EngineUnavailable, RequestRefused, RequestFailed) as error:
            await self._on_error(replica, items, error, request_id)
            return 0
        if result.attempts > 1:
            replica.limiter.back_off()
        await self._check(replica)
        if result.cut_some_prompt and len(items) > 1:
            self._send_alone(items)
            return 0
        self.on_result(items, result, replica.models)
        self._replicas.note_success(replica, items)
        return result.about_tokens

    async def _check(self, replica: Replica[ItemT]) -> None:
        """See that what it wrote is of the model that was asked for.

        Raises:
            EngineLost: It was started with other weights meanwhile.
        """
        if not await replica.is_as_found():
            raise EngineLost(replica.changed_weights(), died=False)

    async def _on_error(
        self,
        replica: Replica[ItemT],
        items: Sequence[ItemT],
        error: EngineUnavailable | RequestRefused | RequestFailed,
        request_id: str,
    ) -> None:
        """Deal with a request that has no answer.

        Raises:
            EngineLost: The server is gone, or has its models no more.
        """
        if isinstance(error, EngineUnavailable):
            raise EngineLost(str(error), died=replica.tells_health) from error
        if isinstance(error, RequestRefused):
            if error.would_meet_all:
                raise EngineLost(str(error), died=False) from error
            self._give_up(replica, items, str(error), request_id)
            return
        if isinstance(error, Busy) and error.is_rate_limit:  # counts as no attempt
            replica.limiter.back_off()
            self.end_with(replica.wait_out(error))
            for item in items:
                self._queue(item)
            return
        if replica.tells_health and not await replica.client.health():
            raise EngineLost(str(error), died=True) from error
        replica.limiter.back_off()
        if len(self._replicas) == 1:
            self._give_up(replica, items, str(error), request_id)
        else:
            self._try_elsewhere(replica, items, error, request_id)

    def _try_elsewhere(
        self, replica: Replica[ItemT], items: Sequence[ItemT], error: RequestFailed, request_id: str
    ) -> None:
        """Ask another server, as often as one alone would have been asked again."""
        if isinstance(error, Busy):
            replica.rest(error)
        self._replicas.note_failure(replica, items, str(error))
        for item in items:
            n_tries = self._replicas.n_tries(item)
            if n_tries >= max(MAX_TRIES, len(self._replicas)):
                problem = Message("{problem} Tried {n} times.", problem=error, n=n_tries)
                self.on_failure(item, problem, request_id, replica.models)
                self._replicas.forget(item)
            else:
                item.is_alone |= len(items) > 1
                self._queue(item)

    def _give_up(
        self, replica: Replica[ItemT], items: Sequence[ItemT], error: str, request_id: str
    ) -> None:
        """Record a failure; of a request with several prompts, first try each by itself."""
        if len(items) == 1:
            self.on_failure(items[0], error, request_id, replica.models)
        else:
            self._send_alone(items)

    def _send_alone(self, items: Sequence[ItemT]) -> None:
        for item in items:
            item.is_alone = True
            self._queue(item)
