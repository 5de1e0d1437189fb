"""Commits what arrives within a second: one writer, batches in short transactions, in a thread."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import Q2QError, StoreBusy
from db.generations import Recorded, link_generations, record_generations
from db.search import index_texts
from serving.checks import Finding
from serving.checks.store import NewText, TextFinding, note_sentences, store_findings
from serving.sweeps.prompts import PromptBook
from serving.sweeps.results import Described, describe
from serving.sweeps.work import Outcome

LARGEST_BATCH = 500
LINGER_S = 0.03
"""How long a batch waits for company; far below the second in which a result must be stored."""
FULL_BACKLOG = 4_000
"""Outcomes in memory from which on nothing new is sent."""
KNOWN_PROMPTS = 20_000
LOCK_TRIES = 5

OnRecorded = Callable[[Sequence[tuple[Outcome, Recorded]]], None]


class Recorder:
    """The only writer of a run's results. A context manager: leaving it commits what is left."""

    def __init__(
        self, database: Database, sweep_id: int, book: PromptBook, on_recorded: OnRecorded
    ) -> None:
        self._database = database
        self._sweep_id = sweep_id
        self._book = book
        self._on_recorded = on_recorded
        self._waiting: list[Outcome] = []
        self._links: list[int] = []
        self._n_writing = 0
        self._prompt_ids: dict[str, int] = {}
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes to be written soon."""
        self._waiting += outcomes
        self._work.set()

    def link(self, generation_ids: Sequence[int]) -> None:
        """Take generations of other sweeps to be shown in this one as well."""
        self._links += generation_ids
        self._work.set()

    async def wait_for_room(self) -> None:
        """Return when the backlog is short enough for new requests to be sent."""
        while len(self._waiting) + self._n_writing >= FULL_BACKLOG:
            self._room.clear()
            await self._room.wait()

    async def watch(self) -> None:
        """Wait for the writer, which ends only by an error while the run goes on.

        Raises:
            Q2QError: The store cannot be written.
        """
        assert self._task is not None
        await asyncio.shield(self._task)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_writing(), name="recorder")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self._work.set()
        assert self._task is not None
        if error is None:
            await self._task
        else:
            await asyncio.wait([self._task])

    async def _keep_writing(self) -> None:
        while True:
            await self._work.wait()
            if not self._closing and len(self._waiting) < LARGEST_BATCH:
                await asyncio.sleep(LINGER_S)
            self._work.clear()
            while self._waiting or self._links:
                await self._write_batch()
            if self._closing:
                return

    async def _write_batch(self) -> None:
        batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        links, self._links = self._links, []
        self._n_writing = len(batch)
        recorded = await asyncio.to_thread(self._write, batch, links)
        self._n_writing = 0
        self._room.set()
        self._on_recorded(list(zip(batch, recorded, strict=True)))

    def _write(self, batch: Sequence[Outcome], links: Sequence[int]) -> list[Recorded]:
        described = [describe(outcome, self._book) for outcome in batch]
        if len(self._prompt_ids) > KNOWN_PROMPTS:
            self._prompt_ids.clear()
        for attempt in range(1, LOCK_TRIES + 1):
            known = dict(self._prompt_ids)
            try:
                with self._database.write() as session:
                    link_generations(session, self._sweep_id, links)
                    items = [one.generation for one in described]
                    recorded = record_generations(session, self._sweep_id, items, known)
                    _store_findings(session, described, recorded)
            except StoreBusy:
                if attempt == LOCK_TRIES:
                    raise
            except OperationalError as error:
                raise Q2QError(
                    f"The database cannot be written ({error.orig}); resume the sweep later."
                ) from error
            else:
                self._prompt_ids = known
                return recorded
        raise AssertionError("unreachable")


def _store_findings(
    session: Session, described: Sequence[Described], recorded: Sequence[Recorded]
) -> None:
    """Write the flags of new texts, note their sentences, and make them findable."""
    texts: list[NewText] = []
    flags: list[TextFinding] = []
    for one, stored in zip(described, recorded, strict=True):
        for text, found in _new_texts(one, stored) if stored.is_new else ():
            texts.append(text)
            flags += [
                TextFinding(finding=finding, variant_id=text.variant_id, answer_id=text.answer_id)
                for finding in found
            ]
    store_findings(session, [*flags, *note_sentences(session, texts)])
    index_texts(session, "variant", [(t.variant_id, t.text) for t in texts if t.variant_id])
    index_texts(session, "answer", [(t.answer_id, t.text) for t in texts if t.answer_id])


def _new_texts(one: Described, stored: Recorded) -> Iterator[tuple[NewText, Sequence[Finding]]]:
    item, product = one.generation, one.generation.product
    if product is None:
        return
    is_answer = item.kind == "answer"
    first = NewText(
        question_id=item.question_id,
        text=product.text,
        variant_id=None if is_answer else stored.product_id,
        answer_id=stored.product_id if is_answer else None,
    )
    yield first, one.findings
    if product.answer is not None:
        second = NewText(
            question_id=item.question_id, text=product.answer, answer_id=stored.answer_id
        )
        yield second, one.answer_findings
