"""Commits what arrives within a second: one writer, batches in short transactions, in a thread."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import Q2QError, StoreBusy
from db.generations import (
    NewGeneration,
    Product,
    PromptText,
    Recorded,
    link_generations,
    record_generations,
)
from db.search import index_texts
from serving.checks import CheckContext, Finding, check_answer, check_reasoning
from serving.checks.store import NewText, TextFinding, note_sentences, store_findings
from serving.engine.messages import Choice
from serving.formats.parse import parse_completion
from serving.formats.reasoning_markup import opens_reasoning
from serving.formats.render import RenderedPrompt
from serving.sweeps.expand import PromptBook
from serving.sweeps.work import Outcome, Work


@dataclass(frozen=True, slots=True)
class Described:
    """A generation to be stored, and what the checks found in its text."""

    generation: NewGeneration
    findings: tuple[Finding, ...] = ()
    answer_findings: tuple[Finding, ...] = ()
    """In the answer of one that holds both."""


def describe(outcome: Outcome, book: PromptBook) -> Described:
    """Return what is to be stored of ``outcome``."""
    work, choice = outcome.work, outcome.choice
    is_text = choice is not None and work.kind != "questions"
    read = _read(work, choice, book) if is_text and choice is not None else None
    generation = NewGeneration(
        slot_key=work.keys[outcome.replicate],
        attempt=work.attempts.get(outcome.replicate, 0) + 1,
        kind=work.kind,
        mode=work.mode,
        question_id=work.question.id,
        variant_id=work.under.variant_id if work.under else None,
        prompt_format_id=work.format_id,
        role_id=work.role_id,
        model_version_id=work.model_id,
        engine_id=outcome.engine_id,
        sampling_id=work.sampling_id,
        prompt=_prompt_text(work.prompt) if work.prompt else None,
        replicate=outcome.replicate,
        seed=outcome.seed,
        request_id=outcome.request_id,
        choice_index=choice.choice_index if choice else None,
        text=choice.text if choice else None,
        error=outcome.error,
        finish_reason=choice.finish_reason if choice else None,
        stop_reason=str(choice.stop_reason) if choice and choice.stop_reason is not None else None,
        prompt_tokens=choice.prompt_tokens if choice else None,
        completion_tokens=choice.completion_tokens if choice else None,
        latency_ms=outcome.latency_ms,
        engine_version=outcome.engine_version,
        product=_product(work, read) if read is not None else None,
    )
    if read is None:
        return Described(generation)
    return Described(generation, read.findings, read.answer_findings)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a choice holds; ``answer`` only where the work is whole and it was told apart."""

    text: str
    findings: tuple[Finding, ...]
    answer: str | None = None
    answer_findings: tuple[Finding, ...] = ()


def _product(work: Work, read: _Read) -> Product:
    parents = tuple(parent.variant_id for parent in work.parents)
    return Product(text=read.text, parent_ids=parents, answer=read.answer)


def _prompt_text(prompt: RenderedPrompt) -> PromptText:
    return PromptText(
        content_hash=prompt.content_hash,
        text=prompt.text,
        token_ids=prompt.id_bytes,
        n_tokens=len(prompt.token_ids) or None,
    )


def _read(work: Work, choice: Choice, book: PromptBook) -> _Read:
    """Return the variant or answer in ``choice``, or both, and what the checks find in them.

    What cannot be parsed is kept as it came, with a finding.
    """
    form = book.formats[work.format_id]
    opened = work.prompt is not None and opens_reasoning(work.prompt.text)
    parsed = parse_completion(form, work.task, choice.text, choice.finish_reason, opened=opened)
    part = parsed.response if work.kind == "answer" else parsed.reasoning
    text = part if part is not None else choice.text.strip()
    question = work.question
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
    if work.kind == "answer":
        under = work.under.text if work.under else None
        return _Read(text, tuple(check_answer(text, context, under)))
    if work.kind == "reasoning" or parsed.response is None:
        return _Read(text, tuple(check_reasoning(text, context)))
    # The end of the completion is the answer's: a reasoning before it was not cut off.
    of_reasoning = replace(context, finish_reason=None)
    return _Read(
        text,
        tuple(check_reasoning(text, of_reasoning)),
        parsed.response,
        tuple(check_answer(parsed.response, context, text)),
    )


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
