"""Several workers on one PostgreSQL store: each slot once, also when one of them is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.bulk import insert_missing
from db.database import Database
from db.errors import StoreAway
from db.jobs import claim, enqueue_sweep, get_job, request_cancel
from db.questions import NewQuestion, add_question
from db.rating.ratings import ensure_rater
from db.sweeps import get_sweep
from db.tables import Question, Tag
from db.workers.live import beat, register_worker
from serving.engine.client import ServedModel
from serving.engine.messages import EngineUnavailable
from serving.sweeps.chunks import Sharing
from serving.sweeps.run import join_sweep, run_sweep
from tests.app.seed import seed_store
from tests.fakes.behaviours import prompts_of
from tests.fakes.server import FakeServer
from tests.integration.test_postgres import migrated, store
from tests.postgres_fixture import restart_postgres
from tests.unit import sweep_lab as lab
from tests.unit import test_rating_desk

__all__ = ["migrated", "store"]
pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "workbench.cli.main")


class Crew:
    """Worker processes of one store, each with a home of its own, and one model server."""

    def __init__(self, store: Database, folder: Path, server: FakeServer) -> None:
        self.store, self.folder, self.server = store, folder, server
        self.processes: list[subprocess.Popen[str]] = []
        lab.fill(store, n_questions=40, models=())
        with store.write() as session:
            session.execute(text("DELETE FROM engine"))  # the lab's, which nothing answers for

    def home(self, number: int) -> Path:
        return self.folder / f"home{number}"

    def environment(self, number: int) -> dict[str, str]:
        servers = [{"name": "fakes", "url": self.server.url}]
        return os.environ | {
            "Q2Q_HOME": str(self.home(number)),
            "Q2Q_DATABASE_URL": self.store.engine.url.render_as_string(hide_password=False),
            "Q2Q_SERVERS": json.dumps(servers),
        }

    def start(self, number: int) -> "subprocess.Popen[str]":
        with (self.folder / f"log{number}").open("w") as errors:
            process = subprocess.Popen(
                [*COMMAND, "worker", "run"],
                cwd=ROOT,
                env=self.environment(number),
                start_new_session=True,
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=60)

    def sweep(self, **spec: Any) -> tuple[int, int]:
        n = len(self.processes)
        until(lambda: self.ask("SELECT count(*) FROM worker") == [(n,)])
        until(lambda: bool(self.ask("SELECT id FROM model_version")))
        sweep_id = lab.save(self.store, **spec)
        with self.store.write() as session:
            return sweep_id, enqueue_sweep(session, sweep_id)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return lab.rows(self.store, query)

    def job(self, job_id: int) -> Any:
        with self.store.read() as session:
            return get_job(session, job_id)

    def assert_done(self, sweep_id: int, job_id: int, n_slots: int) -> None:
        until(lambda: not self.job(job_id).is_active)
        job = self.job(job_id)
        assert (job.state, job.done, job.total) == ("done", n_slots, n_slots), job.error
        lab.assert_every_slot_once(self.store, sweep_id, n_slots)
        with self.store.read() as session:
            sweep = get_sweep(session, sweep_id)
        assert (sweep.state, sweep.done, sweep.failed, sweep.pending) == ("done", n_slots, 0, 0)
        assert self.ask("SELECT count(*) FROM slot_claim") == [(0,)]
        assert self.ask("SELECT count(*) FROM sweep_chunk") == [(0,)]


def end_lease(store: Database, worker_id: int) -> None:
    """Have the lease of a worker end, as if time went by."""
    past = "SET heartbeat_at = heartbeat_at - interval '31 s'"
    with store.write() as session:
        session.execute(text(f"UPDATE worker {past} WHERE id = {worker_id}"))
        session.execute(text(f"UPDATE job {past} WHERE owner LIKE '{worker_id}:%'"))


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


@pytest.fixture
def crew(store: Database, tmp_path: Path) -> Iterator[Crew]:
    server = FakeServer(latency_s=2.0)
    server.start()
    crew = Crew(store, tmp_path, server)
    try:
        yield crew
    finally:
        crew.end()
        server.stop()


def test_a_shared_sweep_is_cancelled_resumed_and_outlives_the_death_of_its_holder(
    crew: Crew,
) -> None:
    crew.start(1)
    crew.start(2)
    sweep_id, job_id = crew.sweep(variants=6, answers=6)
    n_slots = 40 * (6 + 6 * 6)
    shared = "SELECT count(DISTINCT worker_id) FROM sweep_chunk WHERE NOT ended"
    until(lambda: crew.ask(shared) == [(2,)])
    with crew.store.write() as session:
        assert request_cancel(session, job_id)
    until(lambda: not crew.job(job_id).is_active)
    assert crew.job(job_id).state == "cancelled"
    until(lambda: crew.ask("SELECT count(*) FROM slot_claim") == [(0,)])
    until(lambda: [one[0] for one in crew.ask("SELECT job_ids FROM worker")] == [[], []])
    assert crew.ask("SELECT count(*) FROM generation") < [(n_slots,)]

    with crew.store.write() as session:
        job_id = enqueue_sweep(session, sweep_id)
    until(lambda: "2 workers" in (crew.job(job_id).message or ""))
    holder = int(crew.job(job_id).owner.partition(":")[0])
    homes = dict(crew.ask("SELECT home, id FROM worker"))
    dead = next(n for n in (1, 2) if homes[str(crew.home(n))] == holder)
    claimed = f"SELECT count(*) FROM slot_claim WHERE worker_id = {holder}"
    until(lambda: crew.ask(claimed) > [(20,)])
    os.killpg(crew.processes[dead - 1].pid, signal.SIGKILL)
    assert crew.ask(claimed) > [(0,)]
    assert crew.job(job_id).is_active
    end_lease(crew.store, holder)
    crew.assert_done(sweep_id, job_id, n_slots)
    assert crew.job(job_id).starts == 2
    assert crew.ask("SELECT count(*) FROM generation") == [(n_slots,)]


def test_two_command_lines_with_equal_sweeps_sample_each_slot_once(crew: Crew) -> None:
    crew.server.latency_s = 0.2
    spec = "name: run {}\nmodels: [fake]\nformats: [tagged@1]\nvariants: 3\nanswers: 2\n"
    for number in (1, 2):
        (crew.folder / f"spec{number}.yaml").write_text(spec.format(number))
    runs = [
        subprocess.Popen(
            [*COMMAND, "sweep", "run", f"{crew.folder}/spec{number}.yaml", "--json"],
            cwd=ROOT,
            env=crew.environment(number),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    crew.processes += runs
    ended = [(*run.communicate(timeout=180), run.returncode) for run in runs]
    assert [code for _, _, code in ended] == [0, 0], ended
    assert {json.loads(out)["done"] for out, _, _ in ended} == {40 * (3 + 3 * 2)}
    assert crew.ask("SELECT count(*) FROM sweep") == [(2,)]
    assert crew.ask("SELECT count(*), count(DISTINCT slot_key) FROM generation") == [(360, 360)]
    # One that lost its server for a moment asks again what was under way; the other one never does.
    asked: dict[str, Counter[str]] = defaultdict(Counter)
    for one in crew.server.requests:
        _, run, _ = one.get("request_id", "q2q-probe-").split("-", 2)
        if run != "probe":
            for prompt in prompts_of(one["prompt"]):
                asked[prompt][run] += int(one["n"])
    written = "SELECT prompt.text, count(*) FROM generation JOIN prompt ON prompt.id = prompt_id"
    slots = dict(crew.ask(f"{written} GROUP BY 1"))
    assert sum(slots.values()) == 360
    assert {prompt for prompt, by in asked.items() if by.total() < slots[prompt]} == set()
    assert [by for prompt, by in asked.items() if by.total() > slots[prompt] and len(by) > 1] == []


class NoServer:
    """Engines whose server cannot be started."""

    is_interactive = False

    def groups(self, model_version_ids: Collection[int]) -> list[frozenset[int]]:
        return [frozenset(model_version_ids)]

    async def serve(self, group: frozenset[int]) -> dict[int, ServedModel]:
        raise EngineUnavailable("The model does not fit here.")


@pytest.mark.parametrize("with_another", [True, False])
async def test_a_holder_without_a_server_leaves_its_sweep_to_those_that_have_one(
    store: Database, fake_server: FakeServer, with_another: bool
) -> None:
    lab.fill(store)
    sweep_id = lab.save(store, variants=2, answers=2)
    with store.write() as session:
        job_id = enqueue_sweep(session, sweep_id)
        holder = register_worker(session, host="here", home="/one")
        other = register_worker(session, host="there", home="/two")
        beat(session, other.id, {job_id} if with_another else {job_id + 1})
        assert claim(session, f"{holder.id}:here", worker_id=holder.id)
    told: list[str] = []
    held = asyncio.create_task(
        run_sweep(
            store,
            sweep_id,
            NoServer(),
            sharing=Sharing(holder.id, job_id),
            on_progress=lambda progress: told.append(progress.message),
        )
    )
    if with_another:
        await asyncio.sleep(1.5)
        async with lab.fixed_engines(fake_server.endpoint) as engines:
            sharing = Sharing(other.id, job_id, is_joined=True)
            never = asyncio.Event()
            await join_sweep(
                store, sweep_id, engines, sharing,
                cancelled=never, priority=0, retry_failed=False,
            )  # fmt: skip
        assert "go on without this one: The model does not fit here." in told[0]
    outcome = await asyncio.wait_for(held, 20)
    if with_another:
        assert (outcome.state, outcome.done, outcome.error) == ("done", 18, None)
        lab.assert_every_slot_once(store, sweep_id, 18)
    else:
        assert (outcome.state, outcome.error) == ("failed", "The model does not fit here.")


def test_a_server_that_is_restarted_is_waited_for(store: Database, postgres_url: str) -> None:
    def ends_now(session: Session) -> None:
        restart_postgres(postgres_url)
        session.execute(text("SELECT 1"))

    with pytest.raises(StoreAway, match="has gone away"), store.write() as session:
        session.execute(text("INSERT INTO tag (name) VALUES ('lost')"))
        ends_now(session)
    with store.write() as session:
        assert session.scalar(text("SELECT count(*) FROM tag")) == 0
    done_at: list[str] = []

    def add_again(session: Session) -> None:
        session.execute(text("INSERT INTO tag (name) VALUES ('kept')"))
        if not done_at:
            done_at.append("lost")
            ends_now(session)

    store.write_again(add_again)
    assert lab.rows(store, "SELECT name FROM tag") == [("kept",)]


def test_eight_raters_and_two_who_queue_write_at_once(store: Database) -> None:
    """As on SQLite, one writes at a time: no card twice, no update lost, one job for one sweep."""
    seeded = seed_store(store)
    queue, _ = test_rating_desk.make(store)
    with store.write() as session:
        raters = [ensure_rater(session, f"rater {number}") for number in range(8)]
        note = add_question(session, NewQuestion(text="Counted?"))[0]

    def rate(rater: int) -> int:
        return len(test_rating_desk.rate_all(store, queue, rater))

    def queue_and_count(_: int) -> int:
        for _ in range(20):
            with store.write() as session:
                job_id = enqueue_sweep(session, seeded.sweep_id)
                question = session.get_one(Question, note)
                question.category = str(int(question.category or 0) + 1)
            ensure = [{"name": f"tag {number}"} for number in range(5)]
            with store.write(concurrently=True) as session:
                insert_missing(session, Tag, ensure)
        return job_id

    with ThreadPoolExecutor(10) as pool:
        rated = pool.map(rate, raters)
        jobs = set(pool.map(queue_and_count, range(2)))
        assert sum(rated) == queue.n_items
    rows = test_rating_desk.holding(store)
    assert len({row.queue_item_id for row in rows}) == len(rows) == queue.n_items
    assert len(jobs) == 1
    with store.read() as session:
        assert session.get_one(Question, note).category == "40"
