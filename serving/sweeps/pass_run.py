"""One pass of a run: opens slots chunk by chunk, sends what is missing, settles what comes back.

An answer is opened as soon as its reasoning is stored. All state lives in one event loop.
"""

import asyncio
import ctypes
import gc
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError

from db.database import Database
from db.errors import Q2QError, StoreBusy
from db.generations import Recorded
from db.sweeps import add_spent, sweep_plan
from db.tables import ModelVersion, Sweep
from db.workers.claims import release_slots
from serving.engine.client import CompletionClient, ServedModel
from serving.sweeps.budget import Budget, Spent
from serving.sweeps.chunks import Chunks, Sharing
from serving.sweeps.expand import Chunk, Reasoning, SlotGroup, answers_under, expand, load_templates
from serving.sweeps.item_queue import until
from serving.sweeps.limits import tagged_formats
from serving.sweeps.prepare import Preparer
from serving.sweeps.record import (
    KNOWN_PROMPTS,
    SlotResult,
    Writer,
    failed,
    read_result,
    record,
    sending,
)
from serving.sweeps.slot_sender import SlotSender
from serving.sweeps.slots import Pass, ResolvedPlan, answers_under_variant

_COLLECT_AFTER = (100_000, 50, 100)
"""Thresholds of Python's garbage collector: some 100,000 objects are alive, hardly any in cycles,
and looking for these took an eighth of the time."""
_M_ARENA_MAX = -8
"""Of glibc's ``malloc.h``."""
WINDOW_SLOTS = 16_384
"""Slots in memory from which on no further questions are opened."""
MAX_ERRORS = 200
"""Sentences that a run remembers of those for which slots failed; the store has them all."""
OPEN_SLOTS = 2_000
"""Slots that are opened together."""


def settle_memory() -> None:
    """Set this process up for runs of any size.

    Batches are made in several threads. With an arena of malloc for each, what is free between
    pieces in use grew to 120 MiB in 80,000 slots and went on growing, while 76 MiB were in use all
    the time; one arena keeps 20 MiB.
    """
    gc.set_threshold(*_COLLECT_AFTER)
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)


class SweepState:
    """What all passes of one run of a sweep share, and what came of them."""

    def __init__(
        self,
        database: Database,
        sweep_id: int,
        *,
        priority: int,
        retry_failed: bool,
        sharing: Sharing | None = None,
    ) -> None:
        self.database = database
        self.sweep_id = sweep_id
        self.priority = priority
        self.retry_failed = retry_failed
        self.sharing = sharing
        self.worker_id = sharing.worker_id if sharing is not None else None
        """Of several workers of the store: it claims the slots that it samples."""
        with database.read() as session:
            self.plan = ResolvedPlan.model_validate(sweep_plan(session, sweep_id))
            self.templates = load_templates(session)
            columns = (Sweep.max_tokens, Sweep.max_cost, Sweep.spent_tokens, Sweep.spent_cost)
            row = session.execute(select(*columns).where(Sweep.id == sweep_id)).one()
            self.budget = Budget(
                max_tokens=row.max_tokens,
                max_cost=row.max_cost,
                spent=Spent(row.spent_tokens, row.spent_cost),
            )
            self.tagged = tagged_formats(session, self.plan)
            models = session.execute(
                select(ModelVersion.id, ModelVersion.digest, ModelVersion.name)
            )
            self.model_names = {row[0]: row[1] or row[2] for row in models}
            """What a slot key says of each model: its digest, or its name if it has none."""
        self.losses: Counter[str] = Counter()
        """Prompt → servers that were lost while they worked on it."""
        self.settled = Chunk(())
        """What came to an end, in chunks that are through."""
        self.n_recorded = self.n_tokens = 0
        """Slots brought to an end in this run, and the tokens of their texts as far as told."""
        self.is_length_told = False
        self.errors: Counter[str] = Counter()
        """Why slots failed in this run."""
        self.ungraded: set[int] = set()
        """Questions with answers that came since answers were last graded."""

    def note_failure(self, error: str) -> None:
        """Remember why a slot failed."""
        if error in self.errors or len(self.errors) < MAX_ERRORS:
            self.errors[error] += 1


class PassRun:
    """Runs one pass once; after a server was lost, another one goes on with the same chunks."""

    def __init__(
        self,
        run: SweepState,
        pass_: Pass,
        served: Mapping[int, ServedModel],
        chunks: Chunks,
        number: int,
    ) -> None:
        self._run = run
        self._pass = pass_
        self._served = served
        self._chunks, self._number = chunks, number
        self._changed = asyncio.Event()
        self._to_open: deque[SlotGroup] = deque()
        self._prompt_ids: dict[str, int] = {}
        self._n_blocked_each = answers_under_variant(run.plan)
        self.open_chunks: set[Chunk] = set()
        self._writer = Writer(self._write, self._on_written, read=self._read)
        self._senders: dict[tuple[CompletionClient, ...], SlotSender] = {}
        """By the servers that they send to."""
        self._preparer = Preparer(
            run.database,
            run.sweep_id,
            run.templates,
            served,
            run.model_names,
            retry_failed=run.retry_failed,
            worker_id=run.worker_id,
        )

    @property
    def in_flight(self) -> int:
        """Slots sent and not yet answered."""
        return sum(sender.in_flight for sender in self._senders.values())

    @property
    def rest_s(self) -> float:
        """Seconds for which the limits of a server keep some slots waiting."""
        return max((sender.rest_s for sender in self._senders.values()), default=0.0)

    @property
    def why_away(self) -> str | None:
        """Which servers are left alone, and why, if any are while others go on."""
        told = (sender.why_away for sender in self._senders.values())
        return next((why for why in told if why is not None), None)

    async def run(self) -> None:
        """Bring every slot of the pass to an end; what has arrived is stored in any case.

        Raises:
            EngineLost: (in a group) a server is gone; run the pass again once it is back.
            Q2QError: (in a group) the sweep cannot go on.
        """
        together: dict[tuple[CompletionClient, ...], list[ServedModel]] = {}
        for model in self._served.values():
            together.setdefault(model.clients, []).append(model)
        for clients, models in together.items():
            self._senders[clients] = SlotSender(
                models,
                self._writer,
                self._run.budget,
                losses=self._run.losses,
                changed=self._changed,
                priority=self._run.priority,
            )
        try:
            async with sending(self._senders.values(), self._writer) as tasks:
                await self._feed(tasks)
        finally:
            try:
                await self._preparer.close()
            finally:  # also where it was cancelled once more
                await self._chunks.give_back(self._number)

    async def _feed(self, tasks: asyncio.TaskGroup) -> None:
        """Open slots as long as there are any: those that became possible before new questions."""
        while self._to_open or self.open_chunks or self._chunks.may_have(self._number):
            if self._to_open:
                await self._open(self._next_groups(), tasks)
            elif self._chunks.may_have(self._number) and self._has_room():
                if (chunk := await self._chunks.take(self._number)) is not None:
                    await self._open_chunk(chunk)
            else:
                await until(self._changed, self._can_go_on)

    def _can_go_on(self) -> bool:
        has_open = bool(self._to_open or self.open_chunks)
        has_more = self._chunks.may_have(self._number)
        return bool(self._to_open) or not has_open or (has_more and self._has_room())

    def _has_room(self) -> bool:
        n_open = sum(chunk.n_open for chunk in self.open_chunks)
        return n_open < WINDOW_SLOTS and any(s.wants_more for s in self._senders.values())

    def _next_groups(self) -> list[SlotGroup]:
        groups: list[SlotGroup] = []
        n_slots = 0
        while self._to_open and n_slots < OPEN_SLOTS:
            groups.append(self._to_open.popleft())
            n_slots += groups[-1].size
        return groups

    async def _open_chunk(self, chunk: Chunk) -> None:
        def expanded() -> list[SlotGroup]:
            run = self._run
            with run.database.read() as session:
                return expand(session, run.sweep_id, run.plan, chunk, self._pass)

        self.open_chunks.add(chunk)
        self._add(await asyncio.to_thread(expanded))
        self._settle(chunk)

    def _add(self, groups: Sequence[SlotGroup]) -> None:
        for group in groups:
            group.chunk.n_open += group.size
        self._to_open.extend(groups)
        self._changed.set()

    async def _open(self, groups: Sequence[SlotGroup], tasks: asyncio.TaskGroup) -> None:
        found = await self._preparer.prepare(groups)
        for group, state in found.existing:
            self._settle_done(group, state.variant_id, state.variant_text)
        for group in found.failed:
            self._settle_failed(group)
        for group in found.missing:
            if group.problem is not None:
                self._writer.put(failed(group, group.problem))
            else:
                self._senders[self._served[group.model_id].clients].put_slots([group])
        for group, events in found.contested:
            tasks.create_task(self._open_again(group, events))

    async def _open_again(self, group: SlotGroup, events: Sequence[asyncio.Event]) -> None:
        """Open slots once more when whoever samples them has let them go."""
        for event in events:
            await event.wait()
        self._to_open.append(group)
        self._changed.set()

    def _read(self, results: Sequence[SlotResult]) -> None:
        for result in results:
            read_result(result, self._run.templates)

    def _write(self, results: Sequence[SlotResult]) -> list[Recorded]:
        known = {} if len(self._prompt_ids) > KNOWN_PROMPTS else dict(self._prompt_ids)
        run = self._run
        try:
            with run.database.write(concurrently=True) as session:
                stored = record(session, run.sweep_id, results, known)
                spent = sum((one.spent for one in results if one.spent), Spent())
                if spent.tokens:
                    add_spent(session, run.sweep_id, spent.tokens, spent.cost)
                if run.worker_id is not None:
                    keys = [result.slot_key for result in results]
                    release_slots(session, run.worker_id, keys)
        except IntegrityError as error:
            if run.worker_id is None:
                raise
            # Another worker stored one of the slots after the lease of this one had ended.
            raise StoreBusy(run.database.label) from error
        except OperationalError as error:
            raise Q2QError(
                "The database cannot be written ({orig}); resume the sweep later.", orig=error.orig
            ) from error
        self._prompt_ids = known
        return stored

    def _on_written(self, results: Sequence[SlotResult], stored: Sequence[Recorded]) -> None:
        """Settle what has been committed, and open the answers that became possible."""
        run = self._run
        self._preparer.release([result.slot_key for result in results])
        run.n_recorded += len(results)
        for result, at in zip(results, stored, strict=True):
            if result.error is not None:
                run.note_failure(result.error)
                self._settle_failed(result.slots)
                continue
            if result.choice is not None and result.choice.completion_tokens is not None:
                run.n_tokens += result.choice.completion_tokens
                result.slots.chunk.tokens += result.choice.completion_tokens
                run.is_length_told = True
            if result.slots.kind == "answer":
                run.ungraded.add(result.slots.question.id)
            self._settle_done(result.slots, at.product_id, at.product_text)
        self._changed.set()

    def _settle_done(self, group: SlotGroup, product_id: int | None, text: str | None) -> None:
        if group.kind == "reasoning" and product_id is not None and text is not None:
            made = Reasoning(product_id, text)
            self._add(answers_under(self._run.plan, group, made, self._pass))
        self._settle(group.chunk, done=1)

    def _settle_failed(self, group: SlotGroup) -> None:
        blocked = self._n_blocked_each if group.kind == "reasoning" else 0
        self._settle(group.chunk, failed=1, blocked=blocked)

    def _settle(self, chunk: Chunk, *, done: int = 0, failed: int = 0, blocked: int = 0) -> None:
        """Note that one slot of ``chunk`` (or its opening) has come to an end."""
        chunk.done += done
        chunk.failed += failed
        chunk.blocked += blocked
        chunk.n_open -= 1
        if chunk.n_open == 0:
            self.open_chunks.discard(chunk)
            self._chunks.end(self._number, chunk)
            settled = self._run.settled
            settled.done += chunk.done
            settled.failed += chunk.failed
            settled.blocked += chunk.blocked
            self._changed.set()
