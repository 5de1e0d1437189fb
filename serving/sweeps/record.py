"""Stores results within a second of their coming: one writer, batches in short transactions.

``record`` takes the result of a slot to its rows: parsed, checked, nothing left out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sqlalchemy.orm import Session

from db.errors import StoreBusy
from db.generations import NewGeneration, Product, Recorded, record_generations
from db.search import index_texts
from serving.checks import CheckContext, Finding, check_answer, check_reasoning
from serving.checks.store import NewText, TextFinding, note_sentences, store_findings
from serving.engine.client import ServedModel
from serving.engine.messages import Choice
from serving.formats.parse import parse_completion
from serving.formats.reasoning_markup import opens_reasoning
from serving.sweeps.budget import Spent
from serving.sweeps.engine_loss import EngineLost
from serving.sweeps.expand import SlotGroup, Templates
from serving.sweeps.send import Sender

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
        *,
        read: Callable[[Sequence[ResultT]], None] = lambda _: None,
    ) -> None:
        self._read = read
        """Makes results ready in a thread before they are stored: what needs no store."""
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
            await self._write_waiting()
            # While a batch ends, more may have come.
            if self._is_closing and not self._waiting:
                return

    async def _write_waiting(self) -> None:
        """Write batch by batch; of a long backlog the next one is read while one is stored."""
        batch = self._next_batch()
        read = self._begin_reading(batch)
        while batch:
            await read
            is_long = len(self._waiting) >= LARGEST_BATCH
            following = self._next_batch() if is_long else []
            reading = self._begin_reading(following)
            try:
                stored = await asyncio.to_thread(self._try_to_write, batch)
            except BaseException:
                await asyncio.wait([reading])
                raise
            self._n_writing -= len(batch)
            self._has_room.set()
            self._on_written(batch, stored)
            batch, read = following, reading
            if not batch:
                batch = self._next_batch()
                read = self._begin_reading(batch)
        await read

    def _next_batch(self) -> list[ResultT]:
        batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        self._n_writing += len(batch)
        return batch

    def _begin_reading(self, batch: Sequence[ResultT]) -> asyncio.Task[None]:
        return asyncio.create_task(asyncio.to_thread(self._read, batch))

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


KNOWN_PROMPTS = 20_000
"""Prompts whose ids a run remembers."""


@dataclass(slots=True, kw_only=True)
class SlotResult:
    """What became of one slot: a choice, or an error."""

    slots: SlotGroup
    replicate: int
    seed: int | None = None
    choice: Choice | None = None
    error: str | None = None
    request_id: str | None = None
    latency_ms: float | None = None
    engine_id: int | None = None
    engine_version: str | None = None
    spent: Spent | None = None
    """On its whole request; stands at one of the request's results."""
    product: Product | None = None
    """What it made; here and below: once it was read, see ``read_result``."""
    findings: Sequence[Finding] = ()
    answer_findings: Sequence[Finding] = ()
    """Of the answer that came with a reasoning."""

    @property
    def slot_key(self) -> str:
        """Identifies the slot in the store."""
        return self.slots.keys[self.replicate]


def failed(
    slots: SlotGroup,
    error: str,
    *,
    request_id: str | None = None,
    model: ServedModel | None = None,
) -> list[SlotResult]:
    """Return the results of ``slots`` that have no text."""
    return [
        SlotResult(
            slots=slots,
            replicate=replicate,
            seed=slots.seed_of(place) if request_id else None,
            error=error,
            request_id=request_id,
            engine_id=model.engine_id if model else None,
            engine_version=model.engine_version if model else None,
        )
        for place, replicate in enumerate(slots.replicates)
    ]


def record(
    session: Session, sweep_id: int, results: Sequence[SlotResult], prompt_ids: dict[str, int]
) -> list[Recorded]:
    """Store results with their texts and findings; return where each went.

    Args:
        session: Of an open write transaction.
        sweep_id: The sweep that made them.
        results: Of different slots; read, see ``read_result``.
        prompt_ids: Prompts known to be stored, by content hash; the new ones are added.
    """
    stored = record_generations(session, sweep_id, [_row(one) for one in results], prompt_ids)
    _store_findings(session, results, stored)
    return stored


def _store_findings(
    session: Session, results: Sequence[SlotResult], stored: Sequence[Recorded]
) -> None:
    """Write the flags of new texts, note their sentences, and make them findable."""
    new: list[tuple[NewText, Sequence[Finding]]] = []
    for result, at in zip(results, stored, strict=True):
        product = result.product
        if product is None or not at.is_new:
            continue
        question_id, is_answer = result.slots.question.id, result.slots.kind == "answer"
        first = NewText(
            question_id=question_id,
            text=product.text,
            variant_id=None if is_answer else at.product_id,
            answer_id=at.product_id if is_answer else None,
        )
        new.append((first, result.findings))
        if product.answer is not None:
            second = NewText(question_id=question_id, text=product.answer, answer_id=at.answer_id)
            new.append((second, result.answer_findings))
    flags = [
        TextFinding(finding=finding, variant_id=text.variant_id, answer_id=text.answer_id)
        for text, found in new
        for finding in found
    ]
    written = [text for text, _ in new]
    store_findings(session, [*flags, *note_sentences(session, written)])
    index_texts(session, "variant", [(t.variant_id, t.text) for t in written if t.variant_id])
    index_texts(session, "answer", [(t.answer_id, t.text) for t in written if t.answer_id])


def _row(result: SlotResult) -> NewGeneration:
    slots, choice = result.slots, result.choice
    return NewGeneration(
        slot_key=result.slot_key,
        attempt=slots.attempts.get(result.replicate, 0) + 1,
        kind=slots.kind,
        mode=slots.mode,
        question_id=slots.question.id,
        variant_id=slots.under.variant_id if slots.under else None,
        prompt_format_id=slots.format_id,
        role_id=slots.role_id,
        model_version_id=slots.model_id,
        engine_id=result.engine_id,
        sampling_id=slots.sampling_id,
        prompt=slots.prompt_text,
        replicate=result.replicate,
        seed=result.seed,
        request_id=result.request_id,
        choice_index=choice.choice_index if choice else None,
        text=choice.text if choice else None,
        error=result.error,
        finish_reason=choice.finish_reason if choice else None,
        stop_reason=str(choice.stop_reason) if choice and choice.stop_reason is not None else None,
        prompt_tokens=choice.prompt_tokens if choice else None,
        completion_tokens=choice.completion_tokens if choice else None,
        latency_ms=result.latency_ms,
        engine_version=result.engine_version,
        product=result.product,
    )


def read_result(result: SlotResult, templates: Templates) -> None:
    """Find the variant or answer in a choice, or both, and what the checks find in them.

    What cannot be parsed is kept as it came, with a finding.
    """
    slots, choice, question = result.slots, result.choice, result.slots.question
    if choice is None or slots.kind == "questions":
        return
    form = templates.formats[slots.format_id]
    opened = slots.prompt is not None and opens_reasoning(slots.prompt.text)
    parsed = parse_completion(form, slots.task, choice.text, choice.finish_reason, opened=opened)
    part = parsed.response if slots.kind == "answer" else parsed.reasoning
    text = part if part is not None else choice.text.strip()
    context = CheckContext(
        question=question.text,
        context=question.context,
        reference_answer=question.reference_answer,
        role=question.role,
        language=question.language,
        finish_reason=choice.finish_reason or "unknown",
        prompt_problem=choice.prompt_problem,
        unparsed=parsed.problem if text else None,
    )
    if slots.kind == "answer":
        under = slots.under.text if slots.under else None
        result.product, result.findings = Product(text=text), check_answer(text, context, under)
        return
    parents = tuple(parent.variant_id for parent in slots.parents)
    product = Product(text=text, parent_ids=parents)
    if slots.kind == "reasoning" or parsed.response is None:
        result.product, result.findings = product, check_reasoning(text, context)
        return
    # The end of the completion is the answer's: a reasoning before it was not cut off.
    result.product = replace(product, answer=parsed.response)
    result.findings = check_reasoning(text, replace(context, finish_reason=None))
    result.answer_findings = check_answer(parsed.response, context, text)
