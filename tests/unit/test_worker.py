"""The worker's loop with scripted handlers: lanes, cancel, clean stop, deaths, bugs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy.orm import Session

from db import cancelling
from db.cancelling import Cancelled
from db.database import Database, open_database
from db.errors import Q2QError, StoreAway
from db.jobs import INTERACTIVE_PRIORITY, JobEnd, JobRow, claim, enqueue, get_job, request_cancel
from db.settings import Settings
from db.tables import Base
from db.workers.live import register_worker
from workbench.jobs.contracts import NOTHING_ELSE, Aftermath, Handler, JobContext
from workbench.jobs.engines import EnginePool
from workbench.jobs.loop import Worker
from workbench.worker import HANDLERS, handler_of


class RecordingPool:
    """Stands for the engines: notes when a job had the device to itself."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        self.events.append("device begins")
        try:
            yield
        finally:
            self.events.append("device ends")


class Bench:
    """A store, and a worker whose handlers a test scripts."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = Settings(home=tmp_path)
        self.database: Database = open_database(self.settings.database)
        Base.metadata.create_all(self.database.engine)
        self.pool = RecordingPool()
        self.events: list[str] = []

    def enqueue(self, kind: str, **options: Any) -> int:
        with self.database.write() as session:
            return enqueue(session, kind, **options)

    def job(self, job_id: int) -> JobRow:
        with self.database.read() as session:
            return get_job(session, job_id)

    @asynccontextmanager
    async def worker(
        self, *, aftermath: Aftermath = NOTHING_ELSE, **handlers: Handler
    ) -> AsyncIterator[None]:
        stop = asyncio.Event()
        with self.database.write() as session:
            row = register_worker(session, host="here", home=str(self.settings.home_dir))
        worker = Worker(
            self.database,
            self.settings,
            cast(EnginePool, self.pool),
            handlers.get,
            row,
            aftermath=aftermath,
            heartbeat_s=0.02,
        )
        running = asyncio.create_task(worker.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)

    async def ended(self, job_id: int) -> JobRow:
        await self.until(lambda: not self.job(job_id).is_active)
        return self.job(job_id)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


async def until_cancelled(context: JobContext) -> dict[str, Any] | None:
    await context.cancelled.wait()
    raise Cancelled


async def test_a_job_is_done_with_its_result(bench: Bench) -> None:
    async def count(context: JobContext) -> dict[str, Any]:
        context.report(3, 3, "Counted.")
        return {"counted": 3}

    job_id = bench.enqueue("count")
    async with bench.worker(count=count):
        job = await bench.ended(job_id)
    assert (job.state, job.result, job.done, job.message) == (
        "done",
        {"counted": 3},
        3,
        "Counted.",
    )


async def test_progress_is_written_while_the_job_runs(bench: Bench) -> None:
    async def slow(context: JobContext) -> dict[str, Any] | None:
        context.report(1, 2, "Half way.")
        return await until_cancelled(context)

    job_id = bench.enqueue("slow")
    async with bench.worker(slow=slow):
        await bench.until(lambda: bench.job(job_id).message == "Half way.")
        assert bench.job(job_id).heartbeat_at is not None


async def test_a_job_whose_store_went_away_goes_on_when_it_is_back(bench: Bench) -> None:
    async def lose(context: JobContext) -> dict[str, Any]:
        bench.events.append("begun")
        if len(bench.events) == 1:
            raise StoreAway("the store")
        return {}

    job_id = bench.enqueue("lose")
    async with bench.worker(lose=lose):
        job = await bench.ended(job_id)
    assert (job.state, job.error, job.starts, bench.events) == ("done", None, 1, ["begun"] * 2)


async def test_the_end_of_a_job_waits_for_a_store_that_went_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "TRY_AGAIN_S", 0.01)

    async def succeed(context: JobContext) -> dict[str, Any]:
        bench.events.append("begun")
        return {"n": 1}

    def of_job(session: Session, job: JobRow, end: JobEnd) -> Callable[[Session], None]:
        bench.events.append("ending")
        if bench.events.count("ending") < 3:
            raise StoreAway("the store")
        return lambda session: None

    job_id = bench.enqueue("succeed")
    async with bench.worker(aftermath=Aftermath(of_job=of_job), succeed=succeed):
        job = await bench.ended(job_id)
    assert (job.state, job.result, job.starts) == ("done", {"n": 1}, 1)
    assert bench.events == ["begun", "ending", "ending", "ending"]


async def test_an_error_fails_the_job_with_its_sentence(bench: Bench) -> None:
    async def fail(context: JobContext) -> None:
        raise Q2QError("The model is gone; add it again.")

    job_id = bench.enqueue("fail")
    async with bench.worker(fail=fail):
        job = await bench.ended(job_id)
    assert (job.state, job.error) == ("failed", "The model is gone; add it again.")


async def test_a_bug_in_one_job_leaves_the_worker_at_work(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def bug(context: JobContext) -> None:
        raise KeyError("x")

    async def fine(context: JobContext) -> None:
        return None

    first, second = bench.enqueue("bug"), bench.enqueue("fine")
    with caplog.at_level(logging.ERROR):
        async with bench.worker(bug=bug, fine=fine):
            assert (await bench.ended(second)).state == "done"
            job = await bench.ended(first)
    assert job.state == "failed"
    assert "bug" in (job.error or "")
    assert "KeyError" in caplog.text


async def test_a_job_of_an_unknown_kind_fails(bench: Bench) -> None:
    job_id = bench.enqueue("dance")
    async with bench.worker():
        job = await bench.ended(job_id)
    assert "'dance'" in (job.error or "")


async def test_jobs_of_the_server_lane_run_together(bench: Bench) -> None:
    both = asyncio.Barrier(2)

    async def meet(context: JobContext) -> None:
        await both.wait()

    jobs = [bench.enqueue("meet"), bench.enqueue("meet")]
    async with bench.worker(meet=meet):
        for job_id in jobs:
            assert (await bench.ended(job_id)).state == "done"


async def test_a_device_job_runs_alone_and_only_edits_start_while_it_waits(bench: Bench) -> None:
    release = asyncio.Event()

    async def sweep(context: JobContext) -> None:
        bench.events.append("sweep begins")
        await release.wait()
        bench.events.append("sweep ends")

    async def edit(context: JobContext) -> None:
        bench.events.append("edit")

    async def train(context: JobContext) -> None:
        bench.events.append("train")

    bench.enqueue("sweep")
    async with bench.worker(sweep=sweep, edit=edit, train=train):
        await bench.until(lambda: bench.events == ["sweep begins"])
        training = bench.enqueue("train", lane="device")
        late = bench.enqueue("sweep")
        edited = bench.enqueue("edit", priority=INTERACTIVE_PRIORITY)
        await bench.ended(edited)
        release.set()
        await bench.ended(training)
        await bench.ended(late)
    assert bench.events == [
        "sweep begins",
        "edit",
        "sweep ends",
        "train",
        "sweep begins",
        "sweep ends",
    ]
    assert bench.pool.events == ["device begins", "device ends"]


async def test_a_cancelled_job_stops_and_the_worker_goes_on(bench: Bench) -> None:
    job_id = bench.enqueue("wait")
    async with bench.worker(wait=until_cancelled):
        await bench.until(lambda: bench.job(job_id).state == "running")
        with bench.database.write() as session:
            request_cancel(session, job_id)
        job = await bench.ended(job_id)
    assert (job.state, job.error) == ("cancelled", None)


async def test_a_clean_stop_puts_running_jobs_back(bench: Bench) -> None:
    job_id = bench.enqueue("wait")
    async with bench.worker(wait=until_cancelled):
        await bench.until(lambda: bench.job(job_id).state == "running")
    job = bench.job(job_id)
    assert (job.state, job.owner, job.starts) == ("queued", None, 0)


async def test_a_handler_that_does_not_listen_is_cancelled_at_the_stop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.jobs.loop.STOP_GRACE_S", 0.05)

    async def deaf(context: JobContext) -> None:
        await asyncio.sleep(600)

    job_id = bench.enqueue("deaf")
    async with bench.worker(deaf=deaf):
        await bench.until(lambda: bench.job(job_id).state == "running")
    assert bench.job(job_id).state == "queued"


async def test_a_store_that_is_away_is_not_waited_for_long_once_the_worker_is_told_to_stop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.jobs.loop.AWAY_GRACE_S", 0.05)

    async def waits(context: JobContext) -> dict[str, Any] | None:
        while context.database.waits_for_server:
            await asyncio.sleep(0.01)
        return await until_cancelled(context)

    job_id = bench.enqueue("waits")
    async with asyncio.timeout(10):  # less than jobs have to stop by themselves
        async with bench.worker(waits=waits):
            await bench.until(lambda: bench.job(job_id).state == "running")
    assert bench.job(job_id).state == "queued"


async def test_what_a_dead_process_held_is_picked_up_at_once(bench: Bench) -> None:
    import socket

    async def fine(context: JobContext) -> None:
        return None

    job_id = bench.enqueue("fine")
    with bench.database.write() as session:
        claim(session, f"{socket.gethostname()}:4194999:dead")
    async with bench.worker(fine=fine):
        job = await bench.ended(job_id)
    assert (job.state, job.starts) == ("done", 2)


async def test_a_worker_that_lost_its_job_stops_it_and_writes_nothing(bench: Bench) -> None:
    stopped = asyncio.Event()

    async def wait(context: JobContext) -> None:
        await context.cancelled.wait()
        stopped.set()
        raise Cancelled

    job_id = bench.enqueue("wait")
    async with bench.worker(wait=wait):
        await bench.until(lambda: bench.job(job_id).state == "running")
        from db.tables import Job

        with bench.database.write() as session:
            session.get_one(Job, job_id).owner = "elsewhere:1:x"
        async with asyncio.timeout(5):
            await stopped.wait()
    job = bench.job(job_id)
    assert (job.state, job.owner) == ("running", "elsewhere:1:x")


def test_every_registered_kind_of_job_has_a_handler() -> None:
    assert all(callable(handler_of(kind)) for kind in HANDLERS)
    assert handler_of("of another version") is None
