"""How many sequences a server is given at a time: neither starved nor flooded.

One ``Limiter`` for each client object, shared by the sweeps that use it. It follows the server's
own queue where the server tells it, and its throughput where not.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from serving.engine.client import CompletionClient, ServedModel
from serving.engine.messages import EngineLoad

MIN_TARGET, MAX_TARGET = 2.0, 8_192.0
"""Bounds of the target, in sequences; a server that is known to take more gets more."""
UNKNOWN_START = 16.0
"""First target where neither the server's batch size nor its queue is known."""
VISIBLE_START = 128.0
"""First target where the batch size is not known, but the queue is: doubled until one is seen."""
LOOK_EVERY_S, LOOK_SOON_S = 0.5, 0.25
LASTING_LOOKS = 4
"""A queue counts as long only if it was so at all of the last looks: a burst that has just arrived
is no flood. (The least delay over an interval, as in CoDel: Nichols and Jacobson, 2012.)"""
QUEUE_SHARE = 0.15
"""A good waiting queue, as a share of what runs: a freed place is filled at once."""
GROUPS = 32
"""Requests that a full target is split into; 32 to 128 were best over HTTP on a GPU."""
LARGEST_GROUP = 32
LOST_AFTER_S = 60.0
"""A server that says for so long that it works on nothing has lost what it was sent before. Longer
than any step of an engine, since it tells its load between steps only."""
SHARE_BESIDE_INTERACTIVE = 1 / 8
"""What sweeps keep of the target while a person waits for texts: a step of the engine, and with it
every token, takes several times longer in a full batch than in a small one."""
INTERACTIVE_LINGER_S = 20.0
"""So long after a person's last text the next edit is still expected."""
MAX_INTERACTIVE = 64
"""Sequences that an interactive sweep may add on top of the target."""

_limiters: "WeakKeyDictionary[CompletionClient, Limiter]" = WeakKeyDictionary()


def limiter_of(model: ServedModel) -> "Limiter":
    """Return the limiter of the server that serves ``model``."""
    limiter = _limiters.get(model.client)
    if limiter is None:
        limiter = _limiters[model.client] = Limiter(model)
    return limiter


@dataclass(eq=False)
class Lane:
    """One sweep's part of a limiter."""

    is_interactive: bool = False
    in_flight: int = 0
    is_waiting: bool = False
    """Has something to send and found no room."""
    preempt: Callable[[int], None] | None = None
    """Takes back the youngest requests that are worth so many sequences, to be sent again later."""


@dataclass
class _Climb:
    """Hill-climbing on throughput, for servers that do not tell their load."""

    since: float = field(default_factory=time.monotonic)
    tokens: int = 0
    best_rate: float = 0.0
    is_settled_until: float = 0.0

    def next_target(self, target: float, *, is_full: bool) -> float:
        """Return the target for the next stretch: twice as much while that pays."""
        now = time.monotonic()
        seconds = now - self.since
        if seconds < 2.0 or not self.tokens:
            return target
        rate, self.tokens, self.since = self.tokens / seconds, 0, now
        if not is_full or now < self.is_settled_until:
            return target
        if rate > 1.1 * self.best_rate:
            self.best_rate = rate
            return target * 2
        self.best_rate = rate
        self.is_settled_until = now + 20.0
        return target / 2


class Limiter:
    """The room that a server has, and who may use it."""

    def __init__(self, model: ServedModel) -> None:
        seats = model.max_num_seqs
        self._client = model.client
        self._reads_metrics = model.capabilities.metrics
        unknown = VISIBLE_START if self._reads_metrics else UNKNOWN_START
        self.target = unknown if seats is None else seats * (1 + QUEUE_SHARE) + 2
        self._max_target = max(MAX_TARGET, 2 * self.target)
        self._seeks_queue = seats is None and self._reads_metrics
        self._queues: deque[int] = deque(maxlen=LASTING_LOOKS)
        self._idle_since: float | None = None
        self._interactive_until = 0.0
        self._lanes: set[Lane] = set()
        self._room = asyncio.Event()
        self._climb = _Climb()
        self._watch: asyncio.Task[None] | None = None
        self._last_back_off = 0.0

    @property
    def in_flight(self) -> int:
        """Sequences sent and not yet answered, of all lanes but interactive ones."""
        return sum(lane.in_flight for lane in self._lanes if not lane.is_interactive)

    @property
    def load(self) -> float:
        """How full the server is, as a share of what it may have; of all lanes."""
        return sum(lane.in_flight for lane in self._lanes) / self.target

    @property
    def group_size(self) -> int:
        """Sequences that one request should carry: one where few fit, more where many do."""
        return max(1, min(LARGEST_GROUP, int(self.target / GROUPS)))

    @property
    def has_interactive(self) -> bool:
        """Whether a person waits for texts, or did a moment ago."""
        now = time.monotonic()
        return now < self._interactive_until or any(lane.is_interactive for lane in self._lanes)

    @property
    def limit(self) -> float:
        """Sequences that sweeps may have in the air now."""
        return (
            max(MIN_TARGET, self.target * SHARE_BESIDE_INTERACTIVE)
            if self.has_interactive
            else self.target
        )

    def open_lane(
        self, *, interactive: bool = False, preempt: Callable[[int], None] | None = None
    ) -> Lane:
        """Return a lane of its own for a sweep; the first one starts watching the server.

        An interactive lane makes the others take back what is more than the limit beside it.
        """
        lane = Lane(is_interactive=interactive, preempt=preempt)
        self._lanes.add(lane)
        if self._watch is None:
            self._watch = asyncio.create_task(self._keep_watching(), name="limiter")
        if interactive:
            self._preempt_others()
        return lane

    def _preempt_others(self) -> None:
        keep = self.limit / max(1, self.in_flight)
        for lane in self._lanes:
            if lane.preempt is not None and keep < 1:
                lane.preempt(int(lane.in_flight * (1 - keep)))

    async def close_lane(self, lane: Lane) -> None:
        """Give the lane's share back; with the last one, watching ends."""
        self._lanes.discard(lane)
        if lane.is_interactive:
            self._interactive_until = time.monotonic() + INTERACTIVE_LINGER_S
        self._room.set()
        if not self._lanes and self._watch is not None:
            watch, self._watch = self._watch, None
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    def room(self, lane: Lane) -> int:
        """Return how many sequences ``lane`` may send now.

        Lanes that wait share the limit evenly; what others leave, one lane may take.
        """
        if lane.is_interactive:
            return MAX_INTERACTIVE - lane.in_flight
        n_waiting = sum(
            other.is_waiting and not other.is_interactive for other in self._lanes - {lane}
        )
        share = math.ceil(self.limit / (n_waiting + 1)) - lane.in_flight
        return min(share, math.ceil(self.limit) - self.in_flight)

    async def wait_for_room(self, lane: Lane) -> None:
        """Return when ``lane`` may send something."""
        try:
            while self.room(lane) <= 0:
                lane.is_waiting = True
                self._room.clear()
                await self._room.wait()
        finally:
            lane.is_waiting = False

    def sent(self, lane: Lane, n_sequences: int) -> None:
        """Note what ``lane`` has sent."""
        lane.in_flight += n_sequences

    def returned(self, lane: Lane, n_sequences: int, completion_tokens: int = 0) -> None:
        """Note that a request of ``lane`` has come back, with or without texts."""
        lane.in_flight -= n_sequences
        self._climb.tokens += completion_tokens
        self._room.set()

    def back_off(self) -> None:
        """Halve the target: the server was too busy, or missed a deadline."""
        now = time.monotonic()
        if now - self._last_back_off >= 1.0:
            self._last_back_off = now
            self.target = max(MIN_TARGET, self.target / 2)

    def follow(self, load: EngineLoad) -> None:
        """Move the target so that a small queue waits at the server."""
        good = max(2.0, load.running * QUEUE_SHARE)
        self._queues.append(load.waiting)
        lasting = min(self._queues) if len(self._queues) == LASTING_LOOKS else 0
        if lasting > 2 * good:
            self._queues.clear()
            self._seeks_queue = False
            self.target -= (lasting - good) / 2
        elif load.waiting < good / 2 and self._is_full():
            self.target += self.target if self._seeks_queue else max(2.0, self.target * 0.1)
        self.target = min(self._max_target, max(MIN_TARGET, self.target))

    def find_lost(self, load: EngineLoad) -> None:
        """Give up on requests that the server has lost, as 1 or 2 of 1,000 are on a GPU server."""
        now = asyncio.get_running_loop().time()
        if load.running or load.waiting:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= LOST_AFTER_S:
            self._client.give_up_on(self._idle_since)
            self._idle_since = now

    def _is_full(self) -> bool:
        """Tell whether the target is what holds sending back."""
        return not self.has_interactive and self.in_flight >= 0.9 * self.target

    async def _keep_watching(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SOON_S if self._seeks_queue else LOOK_EVERY_S)
            load = await self._client.metrics() if self._reads_metrics else None
            if load is not None:
                self.follow(load)
                self.find_lost(load)
            else:
                climbed = self._climb.next_target(self.target, is_full=self._is_full())
                self.target = min(self._max_target, max(MIN_TARGET, climbed))
            self._room.set()
