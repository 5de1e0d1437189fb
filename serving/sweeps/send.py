"""Sends items to one server as its limiter allows, and outlives the loss of servers.

Knows nothing of what is sent: sweeps and scoring say how items become a request, and what its
answer means. An item is some completions of one prompt; items of one kind can share a request,
and where that fails each is tried alone.
"""

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import count
from typing import Generic, Protocol, TypeVar

from serving.engine.client import Engines, ServedModel
from serving.engine.limiter import limiter_of
from serving.engine.messages import (
    CompletionRequest,
    CompletionResult,
    EngineUnavailable,
    RequestFailed,
    RequestRefused,
)

SUSPECT_AFTER, GUILTY_AFTER = 2, 3
"""Server losses after which a prompt is sent alone, and after which it counts as failed."""
MAX_LOSSES = 5
"""Losses of a server without any result in between, after which a run gives up."""


class EngineLost(Exception):
    """A server is gone, or serves no more; what was in the air is nobody's fault."""

    def __init__(self, sentence: str, *, died: bool) -> None:
        super().__init__(sentence)
        self.died = died
        """It was well when the run began, so that a prompt may have killed it."""


async def until_done(
    engines: Engines,
    group: frozenset[int],
    attempt: Callable[[Mapping[int, ServedModel]], Awaitable[None]],
    *,
    n_results: Callable[[], int],
    report: Callable[[str], None],
    advice: str,
) -> None:
    """Await ``attempt`` with the models of ``group``, anew whenever their server was lost.

    Args:
        engines: The servers.
        group: Models that are served together.
        attempt: Does what is still missing.
        n_results: Counts what has been brought to an end so far.
        report: Receives what is being waited for.
        advice: Ends the sentence about a server that is lost again and again.

    Raises:
        EngineUnavailable: A server cannot be had, or was lost too often.
    """
    n_fruitless = 0
    while True:
        report("waiting for the model")
        served = await engines.serve(group)
        n_before = n_results()
        try:
            await attempt(served)
        except BaseExceptionGroup as errors:
            lost = _first_cause(errors)
            if not isinstance(lost, EngineLost):
                raise lost from None
        else:
            return
        n_fruitless = 0 if n_results() > n_before else n_fruitless + 1
        if n_fruitless >= MAX_LOSSES:
            raise EngineUnavailable(
                "{lost} It was lost {n_fruitless} times without a {advice}",
                lost=lost,
                n_fruitless=n_fruitless,
                advice=advice,
            )


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what broke a group of tasks: an error that is no lost server, if there is one."""
    causes = [
        _first_cause(error) if isinstance(error, BaseExceptionGroup) else error
        for error in group.exceptions
    ]
    return next((cause for cause in causes if not isinstance(cause, EngineLost)), causes[0])


async def until(changed: asyncio.Event, holds: Callable[[], bool]) -> None:
    """Return once ``holds`` does, looking again whenever ``changed`` is set."""
    while not holds():
        changed.clear()
        await changed.wait()


class Item(Protocol):
    """Completions of one prompt."""

    is_alone: bool
    """Not to be sent together with others."""

    @property
    def size(self) -> int:
        """Number of completions."""

    @property
    def goes_first(self) -> bool:
        """Whether it is sent before those that were queued earlier."""

    @property
    def prompt_hash(self) -> str:
        """Tells which prompt took a server down."""

    @property
    def request_key(self) -> Hashable:
        """Equal for items that one request can carry."""


ItemT = TypeVar("ItemT", bound=Item)


class _Queue(Generic[ItemT]):
    """Items in order of arrival, those that can share a request taken together."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[Hashable, deque[ItemT]] = OrderedDict()
        self.n_sequences = 0

    def put(self, item: ItemT) -> None:
        """Add ``item`` at the end."""
        key = (item.request_key, id(item) if item.is_alone else None)
        self._by_key.setdefault(key, deque()).append(item)
        self.n_sequences += item.size

    def take(self, max_sequences: int) -> list[ItemT]:
        """Return at least one item, and more of its kind up to ``max_sequences``."""
        key, items = next(iter(self._by_key.items()))
        size = items[0].size
        taken = [items.popleft()]
        while items and (len(taken) + 1) * size <= max_sequences:
            taken.append(items.popleft())
        if not items:
            del self._by_key[key]
        self.n_sequences -= size * len(taken)
        return taken

    def __bool__(self) -> bool:
        return bool(self._by_key)


class Sender(ABC, Generic[ItemT]):
    """Sends the items of one run to one server. Subclasses say what they are."""

    max_items = 32
    """Items in one request."""

    def __init__(
        self,
        model: ServedModel,
        *,
        losses: Counter[str],
        changed: asyncio.Event,
        priority: int,
    ) -> None:
        self.priority = priority
        self._client = model.client
        self._can_group = model.capabilities.prompt_list
        self._losses = losses
        """Prompt → servers that were lost while they worked on it."""
        self._first, self._later = _Queue[ItemT](), _Queue[ItemT]()
        self._limiter = limiter_of(model)
        is_interactive = priority < 0
        self._lane = self._limiter.open_lane(
            interactive=is_interactive, preempt=None if is_interactive else self._preempt
        )
        self._changed = changed
        """Is set whenever something is queued, taken, or has come back."""
        self._in_air: set[ItemT] = set()
        self._exchanges: dict[asyncio.Task[None], Sequence[ItemT]] = {}
        """Requests in the air, the oldest first."""
        self._preempted: set[asyncio.Task[None]] = set()
        self._tells_health = True
        self._run_id = uuid.uuid4().hex[:12]
        self._numbers = count(1)

    @abstractmethod
    def request(self, items: Sequence[ItemT], request_id: str) -> CompletionRequest:
        """Return what is sent for ``items``, which have one ``request_key``."""

    @abstractmethod
    def on_result(self, items: Sequence[ItemT], result: CompletionResult) -> None:
        """Take the answer to a request."""

    @abstractmethod
    def on_failure(self, item: ItemT, error: str, request_id: str | None) -> None:
        """Take the sentence on why ``item``, sent alone, has no result."""

    async def wait_for_room(self) -> None:
        """Return when results that come may be stored soon enough."""

    @property
    def in_flight(self) -> int:
        """Sequences sent and not yet answered."""
        return self._lane.in_flight

    @property
    def wants_more(self) -> bool:
        """Whether the queue is shorter than what the server may soon take."""
        queued = self._first.n_sequences + self._later.n_sequences
        return queued < self._limiter.target / 2 + 1

    def put(self, items: Sequence[ItemT]) -> None:
        """Queue items, but for those whose prompt took the server down again and again."""
        for item in items:
            losses = self._losses[item.prompt_hash]
            if losses >= GUILTY_AFTER:
                error = f"The model server was lost {losses} times while it worked on this prompt."
                self.on_failure(item, error, None)
            else:
                item.is_alone |= losses >= SUSPECT_AFTER
                self._queue(item)

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Send what is queued; ends by being cancelled.

        Raises:
            EngineLost: Nothing answers, or the server serves these models no more.
        """
        self._tells_health = await self._client.health()
        while True:
            await until(self._changed, lambda: bool(self._first or self._later))
            await self.wait_for_room()
            await self._limiter.wait_for_room(self._lane)
            max_sequences = min(self._limiter.group_size, self._limiter.room(self._lane))
            queue = self._first or self._later
            items = queue.take(min(max_sequences, self.max_items) if self._can_group else 1)
            is_suspect = self._losses[items[0].prompt_hash] >= SUSPECT_AFTER
            if is_suspect:
                await until(self._changed, lambda: not self._in_air)
            self._limiter.sent(self._lane, _size(items))
            self._in_air.update(items)
            tasks.create_task(self._exchange(items))
            self._changed.set()
            if is_suspect:
                await until(self._changed, lambda: not self._in_air)

    async def wait_until_short(self) -> None:
        """Return when more may be queued."""
        await until(self._changed, lambda: self.wants_more)

    async def wait_until_idle(self) -> None:
        """Return when all that was queued has come to an end."""
        await until(self._changed, lambda: not (self._first or self._later or self._in_air))

    async def close(self) -> None:
        """Give the share of the limiter back."""
        await self._limiter.close_lane(self._lane)

    def note_loss(self) -> None:
        """Remember which prompts were in the air when the server was lost."""
        self._losses.update({item.prompt_hash for item in self._in_air})

    def _queue(self, item: ItemT) -> None:
        (self._first if item.goes_first else self._later).put(item)
        self._changed.set()

    def _preempt(self, n_sequences: int) -> None:
        """Take back the youngest requests, in which the least work is lost."""
        for exchange, items in reversed(list(self._exchanges.items())):
            if n_sequences <= 0:
                return
            n_sequences -= _size(items)
            self._preempted.add(exchange)
            exchange.cancel()

    async def _exchange(self, items: Sequence[ItemT]) -> None:
        """Send one request and hand what comes of it on; items stay in the air if it is lost."""
        task = asyncio.current_task()
        assert task is not None
        self._exchanges[task] = items
        n_tokens = 0
        try:
            n_tokens = await self._complete(items)
        except asyncio.CancelledError:
            if task not in self._preempted:
                raise
            for item in items:
                self._queue(item)
        finally:
            del self._exchanges[task]
            self._preempted.discard(task)
            self._limiter.returned(self._lane, _size(items), n_tokens)
        self._in_air.difference_update(items)
        self._changed.set()

    async def _complete(self, items: Sequence[ItemT]) -> int:
        """Return the tokens of the answer; 0 where there is none, which is then dealt with."""
        request_id = f"q2q-{self._run_id}-{next(self._numbers)}"
        try:
            result = await self._client.complete(self.request(items, request_id))
        except EngineUnavailable as error:
            raise EngineLost(str(error), died=self._tells_health) from error
        except RequestRefused as error:
            if error.would_meet_all:
                raise EngineLost(str(error), died=False) from error
            self._give_up(items, str(error), request_id)
            return 0
        except RequestFailed as error:
            if self._tells_health and not await self._client.health():
                raise EngineLost(str(error), died=True) from error
            self._limiter.back_off()
            self._give_up(items, str(error), request_id)
            return 0
        if result.attempts > 1:
            self._limiter.back_off()
        if result.cut_some_prompt and len(items) > 1:
            self._send_alone(items)
            return 0
        self.on_result(items, result)
        return result.about_tokens

    def _give_up(self, items: Sequence[ItemT], error: str, request_id: str) -> None:
        """Record a failure; of a request with several prompts, first try each by itself."""
        if len(items) == 1:
            self.on_failure(items[0], error, request_id)
        else:
            self._send_alone(items)

    def _send_alone(self, items: Sequence[ItemT]) -> None:
        for item in items:
            item.is_alone = True
            self._queue(item)


def _size(items: Sequence[Item]) -> int:
    return sum(item.size for item in items)
