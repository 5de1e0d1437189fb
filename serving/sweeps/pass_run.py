"""One pass of a run: opens work chunk by chunk, sends what is missing, settles what comes back.

An answer is opened as soon as its reasoning is stored. All state lives in one event loop.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from db.database import Database
from db.generations import Recorded
from serving.engine.served import Completer, ServedModel
from serving.sweeps.expand import PromptBook, answers_under, candidates, load_material
from serving.sweeps.opening import Claims, Opened, Opener
from serving.sweeps.progress import Board, Chunk, ChunkSource
from serving.sweeps.record import Recorder
from serving.sweeps.sending import Sender
from serving.sweeps.slots import Pass, ResolvedPlan, answers_under_variant
from serving.sweeps.work import Outcome, Reasoning, Work

WINDOW_SLOTS = 16_384
"""Slots in memory from which on no further questions are opened."""
OPEN_SLOTS = 2_000
"""Slots that are opened together."""


@dataclass(kw_only=True)
class SweepContext:
    """What all passes of one run share."""

    database: Database
    sweep_id: int
    plan: ResolvedPlan
    book: PromptBook
    model_names: Mapping[int, str]
    """What a slot key says of each model: its digest, or its name where there is none."""
    board: Board
    claims: Claims
    priority: int
    retry_failed: bool
    losses: Counter[str] = field(default_factory=Counter)


class PassRun:
    """Runs one pass once; after a server was lost, another one goes on with the same source."""

    def __init__(
        self,
        context: SweepContext,
        pass_: Pass,
        served: Mapping[int, ServedModel],
        source: ChunkSource,
    ) -> None:
        self._context = context
        self._pass = pass_
        self._served = served
        self._source = source
        self._changed = asyncio.Event()
        self._to_open: deque[Work] = deque()
        self._held: set[str] = set()
        self._senders: dict[Completer, Sender] = {}
        self._n_blocked_each = answers_under_variant(context.plan)
        self.open_chunks: set[Chunk] = set()
        self._recorder = Recorder(
            context.database, context.sweep_id, context.book, self._on_recorded
        )
        self._opener = Opener(
            context.database,
            context.sweep_id,
            context.book,
            served,
            context.model_names,
            retry_failed=context.retry_failed,
        )

    @property
    def in_flight(self) -> int:
        """Slots sent and not yet answered."""
        return sum(sender.in_flight for sender in self._senders.values())

    async def run(self) -> None:
        """Bring every slot of the pass to an end; what has arrived is stored in any case.

        Raises:
            EngineLost: (in a group) a server is gone; run the pass again once it is back.
            Q2QError: (in a group) the sweep cannot go on.
        """
        try:
            async with self._recorder:
                await self._run()
        finally:
            self._context.claims.release(self._held)
            self._source.give_back(self.open_chunks)

    def note_loss(self) -> None:
        """Remember what was in the air when a server was lost."""
        for sender in self._senders.values():
            sender.note_loss()

    async def _run(self) -> None:
        for model in self._served.values():
            if model.client not in self._senders:
                self._senders[model.client] = Sender(
                    model,
                    self._recorder,
                    self._context.losses,
                    self._changed,
                    priority=self._context.priority,
                )
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._recorder.watch())]
                helpers += [
                    tasks.create_task(sender.run(tasks, self._served))
                    for sender in self._senders.values()
                ]
                await self._feed(tasks)
                for helper in helpers:
                    helper.cancel()
        finally:
            for sender in self._senders.values():
                await sender.close()

    async def _feed(self, tasks: asyncio.TaskGroup) -> None:
        """Open work as long as there is any: answers that became possible before new questions."""
        is_last = False
        while self._to_open or self.open_chunks or not is_last:
            if self._to_open:
                await self._open(self._next_works(), tasks)
            elif not is_last and self._has_room():
                chunk = self._source.take()
                is_last = chunk is None
                if chunk is not None:
                    await self._open_chunk(chunk)
            else:
                self._changed.clear()
                await self._changed.wait()

    def _has_room(self) -> bool:
        n_open = sum(chunk.pending for chunk in self.open_chunks)
        return n_open < WINDOW_SLOTS and any(s.wants_more for s in self._senders.values())

    def _next_works(self) -> list[Work]:
        works: list[Work] = []
        n_slots = 0
        while self._to_open and n_slots < OPEN_SLOTS:
            works.append(self._to_open.popleft())
            n_slots += len(works[-1].replicates)
        return works

    async def _open_chunk(self, chunk: Chunk) -> None:
        self.open_chunks.add(chunk)
        self._add(await asyncio.to_thread(self._candidates, chunk))
        self._settle(chunk)

    def _candidates(self, chunk: Chunk) -> list[Work]:
        context = self._context
        with context.database.read() as session:
            material = load_material(session, context.sweep_id, context.plan, chunk, self._pass)
        return list(candidates(context.plan, material, chunk, self._pass))

    def _add(self, works: Sequence[Work]) -> None:
        for work in works:
            work.chunk.pending += len(work.replicates)
        self._to_open.extend(works)
        self._changed.set()

    def _settle(self, chunk: Chunk, *, done: int = 0, failed: int = 0, blocked: int = 0) -> None:
        """Note that one slot of ``chunk`` (or its opening) has come to an end."""
        chunk.tally.done += done
        chunk.tally.failed += failed
        chunk.tally.blocked += blocked
        chunk.pending -= 1
        if chunk.pending == 0:
            self.open_chunks.discard(chunk)
            self._context.board.settled.add(chunk.tally)
            self._changed.set()

    async def _open(self, works: Sequence[Work], tasks: asyncio.TaskGroup) -> None:
        opened = await self._opener.open(works, self._context.claims, self._held)
        self._take_existing(opened)
        for work, _ in opened.failed:
            self._settle_failed(work)
        for work in opened.unsendable:
            self._recorder.put(
                [Outcome(work=work, replicate=i, error=work.problem) for i in work.replicates]
            )
        for work in opened.missing:
            self._senders[self._served[work.model_id].client].put(work)
        for work, events in opened.contested:
            tasks.create_task(self._open_again(work, events))

    async def _open_again(self, work: Work, events: Sequence[asyncio.Event]) -> None:
        """Open slots once more when whoever samples them has let them go."""
        for event in events:
            await event.wait()
        self._to_open.append(work)
        self._changed.set()

    def _take_existing(self, opened: Opened) -> None:
        unlinked = []
        for work, _, state in opened.existing:
            if not state.is_linked and state.ok_generation_id is not None:
                unlinked.append(state.ok_generation_id)
            self._settle_done(work, state.variant_id, state.variant_text)
        if unlinked:
            self._recorder.link(unlinked)

    def _on_recorded(self, batch: Sequence[tuple[Outcome, Recorded]]) -> None:
        """Settle what has been committed, and open the answers that became possible."""
        board = self._context.board
        keys = [outcome.work.keys[outcome.replicate] for outcome, _ in batch]
        self._held.difference_update(keys)
        self._context.claims.release(keys)
        board.recorded += len(batch)
        for outcome, recorded in batch:
            if outcome.error is not None:
                board.note_failure(outcome.error)
                self._settle_failed(outcome.work)
                continue
            if outcome.choice is not None and outcome.choice.completion_tokens is not None:
                board.completion_tokens += outcome.choice.completion_tokens
                board.is_length_told = True
            self._settle_done(outcome.work, recorded.product_id, recorded.product_text)
        self._changed.set()

    def _settle_done(self, work: Work, product_id: int | None, text: str | None) -> None:
        if work.kind == "reasoning" and product_id is not None and text is not None:
            made = Reasoning(product_id, text)
            self._add(answers_under(self._context.plan, work, made, self._pass))
        self._settle(work.chunk, done=1)

    def _settle_failed(self, work: Work) -> None:
        blocked = self._n_blocked_each if work.kind == "reasoning" else 0
        self._settle(work.chunk, failed=1, blocked=blocked)
