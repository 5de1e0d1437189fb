"""Runs a sweep: every slot is brought to an end, each result stored as it comes.

A run is a list of passes (sets of models that are served together). Nothing is remembered between
runs but the store: resuming, and going on after a server was lost, is opening the same questions
again and running what is missing.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from sqlalchemy import select

from db.database import Database
from db.errors import Q2QError
from db.sweeps import SweepProgress, add_active_time, set_state, sweep_plan, sweep_progress
from db.tables import ModelVersion
from serving.engine.messages import EngineUnavailable
from serving.engine.served import Engines
from serving.sweeps.expand import load_book
from serving.sweeps.forecast import check_served
from serving.sweeps.opening import claims_of
from serving.sweeps.pass_run import PassRun, SweepContext
from serving.sweeps.progress import Board, ChunkSource, Progress
from serving.sweeps.sending import EngineLost, first_cause
from serving.sweeps.slots import (
    Pass,
    ResolvedPlan,
    count_slots,
    models_of,
    passes_over,
    slots_per_question,
)

ResultT = TypeVar("ResultT")

CHUNK_SLOTS, CHUNK_QUESTIONS = 1_000, 500
"""A chunk of questions has about so many slots, and at most so many questions."""
REPORT_EVERY_S = 0.5
SAVE_TIME_EVERY_S = 5.0
MOST_LOSSES = 5
"""Losses of a server without any result in between, after which the sweep gives up."""


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


class _Cancelled(Exception):
    """Somebody asked the run to stop."""


async def run_sweep(
    database: Database,
    sweep_id: int,
    engines: Engines,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    cancelled: asyncio.Event | None = None,
    priority: int = 0,
    retry_failed: bool = False,
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

    Raises:
        UsageError: There is no such sweep.
    """
    context = await asyncio.to_thread(
        _load, database, sweep_id, priority=priority, retry_failed=retry_failed
    )
    run = _Run(context, engines, on_progress, cancelled or asyncio.Event())
    return await run.run()


def _load(database: Database, sweep_id: int, *, priority: int, retry_failed: bool) -> SweepContext:
    with database.read() as session:
        plan = ResolvedPlan.model_validate(sweep_plan(session, sweep_id))
        book = load_book(session)
        models = session.execute(select(ModelVersion.id, ModelVersion.digest, ModelVersion.name))
        model_names = {row[0]: row[1] or row[2] for row in models}
    return SweepContext(
        database=database,
        sweep_id=sweep_id,
        plan=plan,
        book=book,
        model_names=model_names,
        board=Board(count_slots(plan).cells),
        claims=claims_of(str(database.engine.url)),
        priority=priority,
        retry_failed=retry_failed,
    )


class _Run:
    def __init__(
        self,
        context: SweepContext,
        engines: Engines,
        on_progress: Callable[[Progress], None],
        cancelled: asyncio.Event,
    ) -> None:
        self._context = context
        self._engines = engines
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._pass_run: PassRun | None = None
        self._started = self._saved = time.monotonic()

    async def run(self) -> SweepOutcome:
        """Run all passes; the sweep's state tells how it ended, whatever happens."""
        await self._save("running")
        reports = asyncio.create_task(self._keep_reporting(), name="sweep-progress")
        state, error = "failed", None
        try:
            await self._unless_cancelled(self._run_passes(), reports)
            state = "done"
        except _Cancelled:
            state = "cancelled"
        except asyncio.CancelledError:
            state = "cancelled"
            raise
        except Q2QError as problem:
            error = str(problem)
        except BaseException as bug:
            error = f"Stopped by an error in the workbench itself ({type(bug).__name__}: {bug})."
            raise
        finally:
            reports.cancel()
            await asyncio.wait([reports])
            try:
                outcome = await self._finish(state, error)
            except Q2QError as unwritten:  # the disk is full: what ended the run says more
                raise Q2QError(error or str(unwritten)) from None
        self._report()
        return outcome

    async def _run_passes(self) -> None:
        if not await asyncio.to_thread(self._is_anything_missing):
            return
        plan = self._context.plan
        for pass_ in passes_over(plan, self._engines.groups(models_of(plan))):
            await self._run_pass(pass_)

    def _is_anything_missing(self) -> bool:
        """Tell whether a server is needed at all, e.g. after the last run was killed at its end."""
        with self._context.database.read() as session:
            progress = sweep_progress(session, self._context.sweep_id)
        failed = progress.failed + progress.blocked if self._context.retry_failed else 0
        return progress.pending + failed > 0

    async def _run_pass(self, pass_: Pass) -> None:
        """Run one pass, again and again as its servers are lost and come back."""
        size = int(CHUNK_SLOTS / max(1.0, slots_per_question(self._context.plan)))
        source = ChunkSource(self._context.plan.question_ids, max(1, min(CHUNK_QUESTIONS, size)))
        board = self._context.board
        n_fruitless = 0
        while True:
            board.message = "waiting for the model"
            served = await self._engines.serve(pass_.models)
            check_served(self._context.plan, served)
            recorded_before = board.recorded
            board.message = "running"
            lost = await self._try_pass(PassRun(self._context, pass_, served, source))
            if lost is None:
                return
            n_fruitless = 0 if board.recorded > recorded_before else n_fruitless + 1
            if n_fruitless >= MOST_LOSSES:
                raise EngineUnavailable(
                    f"{lost} It was lost {n_fruitless} times without a result in between;"
                    " resume the sweep when it is well."
                )

    async def _try_pass(self, pass_run: PassRun) -> EngineLost | None:
        """Return None when the pass is through, or how a server was lost."""
        self._pass_run = pass_run
        try:
            await pass_run.run()
        except BaseExceptionGroup as group:
            cause = first_cause(group)
            if not isinstance(cause, EngineLost):
                raise cause from None
            if cause.died:
                pass_run.note_loss()
            return cause
        finally:
            self._pass_run = None
        return None

    async def _unless_cancelled(
        self, work: Coroutine[Any, Any, ResultT], reports: asyncio.Task[None]
    ) -> ResultT:
        """Return the result of ``work``, unless the run is told to stop."""
        task = asyncio.create_task(work, name="sweep-passes")
        stop = asyncio.create_task(self._cancelled.wait())
        try:
            await asyncio.wait({task, stop, reports}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if reports.done():
                reports.result()
            raise _Cancelled
        finally:
            stop.cancel()
            task.cancel()
            await asyncio.wait({task, stop})

    async def _keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            self._report()
            if time.monotonic() - self._saved > SAVE_TIME_EVERY_S:
                await asyncio.to_thread(self._save_time)

    def _report(self) -> None:
        run = self._pass_run
        chunks, in_flight = (run.open_chunks, run.in_flight) if run is not None else ((), 0)
        self._on_progress(self._context.board.progress(chunks, in_flight))

    def _save_time(self) -> None:
        now = time.monotonic()
        seconds, self._saved = now - self._saved, now
        with self._context.database.write() as session:
            add_active_time(session, self._context.sweep_id, seconds)

    async def _save(self, state: str, error: str | None = None) -> SweepProgress:
        def save() -> SweepProgress:
            with self._context.database.write() as session:
                set_state(session, self._context.sweep_id, state, error=error)
                return sweep_progress(session, self._context.sweep_id)

        return await asyncio.to_thread(save)

    async def _finish(self, state: str, error: str | None) -> SweepOutcome:
        await asyncio.to_thread(self._save_time)
        progress = await self._save(state, error)
        if state == "done" and progress.pending:
            state = "failed"
            error = (
                f"{progress.pending:,} slots could not be run: their questions or reasonings are"
                " gone from the store. Plan the sweep anew."
            )
            await self._save(state, error)
        seconds = time.monotonic() - self._started
        return SweepOutcome(
            sweep_id=self._context.sweep_id,
            state=state,
            cells=progress.cells,
            done=progress.done,
            failed=progress.failed,
            blocked=progress.blocked,
            variants=progress.variants,
            answers=progress.answers,
            completion_tokens=progress.completion_tokens,
            seconds=seconds,
            tokens_per_second=_speed(self._context.board, seconds),
            error=error,
        )


def _speed(board: Board, seconds: float) -> float | None:
    if board.recorded and not board.is_length_told:
        return None
    return board.completion_tokens / max(seconds, 1e-9)
