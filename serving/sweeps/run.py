"""Runs a sweep: every slot is brought to an end, each result stored as it comes.

A run is a list of passes (sets of models that are served together). Nothing is remembered between
runs but the store: resuming, and going on after a server was lost, is opening the same questions
again and running what is missing.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.cancelling import Cancelled, unless_cancelled
from db.database import Database
from db.errors import Q2QError, StoreAway
from db.messages import Message
from db.sweeps import SweepRow, add_active_time, get_sweep, group_reasons, set_state
from db.workers.claims import SharedProgress
from serving.correctness.store import grade_checked
from serving.engine.client import Engines, ServedModel
from serving.engine.messages import EngineUnavailable
from serving.sweeps.budget import BudgetUsed
from serving.sweeps.chunks import Chunks, OwnChunks, SharedChunks, Sharing, spans
from serving.sweeps.engine_loss import until_done
from serving.sweeps.limits import check_served
from serving.sweeps.pass_run import PassRun, SweepState, settle_memory
from serving.sweeps.slots import Pass, count_slots, models_of, passes_over

REPORT_EVERY_S = 0.5
SAVE_TIME_EVERY_S = 5.0
GRADE_EVERY_S = 3.0
"""How often new answers are graded: who looks on sees accuracies grow."""
SHARE_EVERY_S = 1.0
"""How often workers that share a sweep tell each other how far they are."""
RATE_WINDOW_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """How a run ended. The counts are the sweep's, over all its runs."""

    sweep_id: int
    state: str
    """``done``, ``cancelled`` or ``failed``; the latter two can be resumed."""
    cells: int
    done: int
    failed: int
    blocked: int
    variants: int
    answers: int
    completion_tokens: int | None
    """None where no server told the length of its texts."""
    seconds: float
    """Of this run."""
    tokens_per_second: float | None
    """Of this run; None where no server told the length of its texts."""
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run reports, at most twice a second."""

    done: int
    failed: int
    blocked: int
    total: int
    tokens_per_second: float
    """Over the last seconds."""
    in_flight: int
    """Slots sent and not yet answered."""
    eta_s: float | None
    """Seconds left at the present pace; None while it is not known."""
    message: str
    """What the run does now."""
    n_workers: int = 1
    """Workers that have slots of the sweep now."""
    failure: str | None = None
    """The commonest reason for which slots failed in this run."""


async def run_sweep(
    database: Database,
    sweep_id: int,
    engines: Engines,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    cancelled: asyncio.Event | None = None,
    priority: int = 0,
    retry_failed: bool = False,
    sharing: Sharing | None = None,
) -> SweepOutcome:
    """Run what is missing of a sweep; call it again to resume. All runs share one event loop.

    Args:
        database: The store.
        sweep_id: A planned sweep.
        engines: The servers.
        on_progress: Called at most twice a second.
        cancelled: Set it to stop; what has arrived is stored.
        priority: Negative for interactive work, which does not wait for other sweeps.
        retry_failed: Give failed slots another attempt.
        sharing: This worker, and the job, where the store may have several workers.

    Raises:
        UsageError: There is no such sweep.
    """
    settle_memory()
    run = await asyncio.to_thread(
        SweepRun,
        database,
        sweep_id,
        priority=priority,
        retry_failed=retry_failed,
        sharing=sharing,
    )
    outcome = await run.run(engines, on_progress, cancelled)
    await asyncio.to_thread(grade_checked, database, run.plan.question_ids)
    return outcome


async def join_sweep(
    database: Database,
    sweep_id: int,
    engines: Engines,
    sharing: Sharing,
    *,
    cancelled: asyncio.Event,
    priority: int,
    retry_failed: bool,
) -> None:
    """Take chunks of a sweep whose job another worker holds, as long as there are any.

    Raises:
        Cancelled: ``cancelled`` was set; what has arrived is stored.
        Q2QError: It cannot go on here; what this worker had claimed is free again.
    """
    run = await asyncio.to_thread(
        SweepRun,
        database,
        sweep_id,
        priority=priority,
        retry_failed=retry_failed,
        sharing=sharing,
    )
    await unless_cancelled(run.work(engines, lambda progress: None), cancelled)


class SweepRun(SweepState):
    """One run of a sweep: its passes one after the other, and its figures over all of them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._n_slots = count_slots(self.plan).cells
        self._message = "starting"
        self._pass_run: PassRun | None = None
        self._chunks: Chunks | None = None
        self._shared: SharedProgress | None = None
        """How far all workers are that share the sweep, as of the last look."""
        self._ended: SweepRow | None = None
        """What the store holds when the run is over."""
        self._marks: deque[tuple[float, int, int]] = deque()
        self._started = self._saved = time.monotonic()

    async def run(
        self,
        engines: Engines,
        on_progress: Callable[[Progress], None],
        cancelled: asyncio.Event | None,
    ) -> SweepOutcome:
        """Run all passes; the sweep's state tells how it ended, whatever happens."""
        await asyncio.to_thread(self._save, "running")
        state, error = "failed", None
        try:
            await unless_cancelled(self.work(engines, on_progress), cancelled)
            state = "done"
        except Cancelled:
            state = "cancelled"
        except StoreAway:
            state = "queued"  # as its job, which goes on when the store is back
            raise
        except BudgetUsed as used:
            state, error = "cancelled", str(used)
        except asyncio.CancelledError:
            state = "cancelled"
            raise
        except Q2QError as problem:
            error = str(problem)
        except BaseException as bug:
            error = f"Stopped by an error in the workbench itself ({type(bug).__name__}: {bug})."
            raise
        finally:
            try:
                outcome = await asyncio.to_thread(self._finish, state, error)
            except StoreAway:
                raise
            except Q2QError as unwritten:  # the disk is full: what ended the run says more
                raise Q2QError(error or str(unwritten)) from None
        on_progress(self._progress())
        return outcome

    async def work(self, engines: Engines, on_progress: Callable[[Progress], None]) -> None:
        """Run all passes and report; leaves the sweep's state alone."""
        passes = asyncio.create_task(self._run_passes(engines), name="sweep-passes")
        reports = asyncio.create_task(self._keep_reporting(on_progress), name="sweep-progress")
        is_over = asyncio.Event()
        grading = asyncio.create_task(self._keep_grading(is_over), name="sweep-grading")
        try:
            ended, _ = await asyncio.wait({passes, reports}, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            passes.cancel()
            reports.cancel()
            is_over.set()
            # Graded is again what is left when the run is over; what ended the run says more.
            await asyncio.gather(passes, reports, grading, return_exceptions=True)

    async def _run_passes(self, engines: Engines) -> None:
        if not await asyncio.to_thread(self._is_anything_missing):
            return
        passes = passes_over(self.plan, engines.groups(models_of(self.plan)))
        chunks = self._chunks = await asyncio.to_thread(self._open_chunks, len(passes))
        while (number := await chunks.next_pass()) is not None:

            async def attempt(served: Mapping[int, ServedModel], number: int = number) -> None:
                await self._try_pass(passes[number], served, chunks, number)

            try:
                await until_done(
                    engines,
                    passes[number].models,
                    attempt,
                    n_results=lambda: self.n_recorded,
                    report=self._set_message,
                    advice="result in between; resume the sweep when it is well.",
                )
            except EngineUnavailable as problem:
                why = Message("other workers go on without this one: {problem}", problem=problem)
                self._set_message(why)
                if not await chunks.done_by_others():
                    raise
                return
            if isinstance(chunks, SharedChunks):
                self._set_message("waiting for other workers")

    def _open_chunks(self, n_passes: int) -> Chunks:
        ids, sharing = self.plan.question_ids, self.sharing
        is_shared = sharing is not None and sharing.job_id is not None
        places = spans(len(ids), self._n_slots, is_shared=is_shared)
        if sharing is None or sharing.job_id is None:
            return OwnChunks(ids, places, n_passes)
        return SharedChunks(self.database, sharing, ids, places, n_passes)

    def _is_anything_missing(self) -> bool:
        """Tell whether a server is needed at all, e.g. after the last run was killed at its end."""
        with self.database.read() as session:
            progress = get_sweep(session, self.sweep_id)
        failed = progress.failed + progress.blocked if self.retry_failed else 0
        return progress.pending + failed > 0

    async def _try_pass(
        self, pass_: Pass, served: Mapping[int, ServedModel], chunks: Chunks, number: int
    ) -> None:
        check_served(self.plan, served, tagged=self.tagged, max_cost=self.budget.max_cost)
        self._set_message("running")
        self._pass_run = pass_run = PassRun(self, pass_, served, chunks, number)
        try:
            await pass_run.run()
        finally:
            self._pass_run = None

    def _set_message(self, message: str) -> None:
        self._message = message

    async def _keep_reporting(self, on_progress: Callable[[Progress], None]) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            if isinstance(self._chunks, SharedChunks) and time.monotonic() - looked > SHARE_EVERY_S:
                self._shared = await asyncio.to_thread(self._chunks.save)
                looked = time.monotonic()
            on_progress(self._progress())
            is_joined = self.sharing is not None and self.sharing.is_joined
            if not is_joined and time.monotonic() - self._saved > SAVE_TIME_EVERY_S:
                await asyncio.to_thread(self._save_time)

    async def _keep_grading(self, is_over: asyncio.Event) -> None:
        """Grade answers as they come; what is left when the run is over is graded with all."""
        while not is_over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), GRADE_EVERY_S)
            if self.ungraded and not is_over.is_set():
                ids, self.ungraded = self.ungraded, set()
                await asyncio.to_thread(grade_checked, self.database, ids, stopped=is_over.is_set)

    def _progress(self) -> Progress:
        done, failed, blocked = self._counts()
        tokens_rate, slot_rate = self._rates(done + failed + blocked)
        left = self._n_slots - done - failed - blocked
        return Progress(
            done=done,
            failed=failed,
            blocked=blocked,
            total=self._n_slots,
            tokens_per_second=tokens_rate,
            in_flight=self._pass_run.in_flight if self._pass_run else 0,
            eta_s=left / slot_rate if slot_rate > 0 else None,
            message=self._doing(),
            n_workers=self._shared.n_workers if self._shared is not None else 1,
            failure=next((one.error for one in group_reasons(self.errors.items())), None),
        )

    def _doing(self) -> str:
        rest_s = self._pass_run.rest_s if self._pass_run else 0.0
        if self._pass_run and (why := self._pass_run.why_away):
            return why
        if rest_s < 1:
            return self._message
        return Message("waiting {n:.0f} s for the limits of the server", n=rest_s)

    def _counts(self) -> tuple[int, int, int]:
        """Return the slots that are done, failed and blocked, of all workers."""
        if (told := self._ended or self._shared) is not None:
            return told.done, told.failed, told.blocked
        chunks = [self.settled, *(self._pass_run.open_chunks if self._pass_run else ())]
        done, failed, blocked = (
            sum(getattr(chunk, name) for chunk in chunks) for name in ("done", "failed", "blocked")
        )
        return done, failed, blocked

    def _rates(self, n_ended: int) -> tuple[float, float]:
        """Return tokens and slots a second over the last stretch."""
        now, n_tokens, n_slots = time.monotonic(), self.n_tokens, self.n_recorded
        if self._shared is not None:
            n_tokens, n_slots = self._shared.tokens, n_ended
        self._marks.append((now, n_tokens, n_slots))
        while now - self._marks[0][0] > RATE_WINDOW_S:
            self._marks.popleft()
        since, tokens, slots = self._marks[0]
        seconds = now - since
        if seconds < 0.2:
            return 0.0, 0.0
        return max(0.0, (n_tokens - tokens) / seconds), max(0.0, (n_slots - slots) / seconds)

    def _save_time(self) -> None:
        now = time.monotonic()
        seconds, self._saved = now - self._saved, now
        self.database.write_again(
            lambda session: add_active_time(session, self.sweep_id, seconds), concurrently=False
        )

    def _save(self, state: str, error: str | None = None) -> SweepRow:
        def save(session: Session) -> SweepRow:
            set_state(session, self.sweep_id, state, error=error)
            return get_sweep(session, self.sweep_id)

        return self.database.write_again(save, concurrently=False)

    def _finish(self, state: str, error: str | None) -> SweepOutcome:
        self._save_time()
        if isinstance(self._chunks, SharedChunks):
            self._shared = self._chunks.save()
        progress = self._ended = self._save(state, error)
        if state == "done" and progress.pending:
            state = "failed"
            error = (
                f"{progress.pending:,} slots could not be run: their questions or reasonings are"
                " gone from the store. Plan the sweep anew."
            )
            self._save(state, error)
        seconds = time.monotonic() - self._started
        n_tokens = self.n_tokens if self._shared is None else self._shared.tokens
        is_silent = self.n_recorded and not self.is_length_told
        return SweepOutcome(
            sweep_id=self.sweep_id,
            state=state,
            cells=progress.n_slots,
            done=progress.done,
            failed=progress.failed,
            blocked=progress.blocked,
            variants=progress.variants,
            answers=progress.answers,
            completion_tokens=progress.completion_tokens,
            seconds=seconds,
            tokens_per_second=None if is_silent else n_tokens / max(seconds, 1e-9),
            error=error,
        )
