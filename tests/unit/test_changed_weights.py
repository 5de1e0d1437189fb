"""A server that is started anew with other weights, under its old name, while a sweep runs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from db.database import Database
from db.engines import save_external
from db.settings import Settings
from serving.sweeps.run import Progress, SweepOutcome, run_sweep
from tests.fakes.server import FakeServer, fake_log_prob, fake_text
from tests.unit import sweep_lab as lab
from workbench.jobs.engine_watch import EngineWatch
from workbench.jobs.engines import EnginePool

WRONG = "SELECT count(*) FROM generation WHERE text LIKE '%wrong%'"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeServer]]:
    monkeypatch.setattr("serving.sweeps.replicas.LOOK_FOR_LOST_S", 0.05)
    monkeypatch.setattr("serving.engine.limiter.VISIBLE_START", 8.0)
    monkeypatch.setattr("serving.engine.limiter.MAX_TARGET", 16.0)  # the sweep outlasts a probe
    made = [FakeServer(models=("llama",), latency_s=0.05) for _ in "ab"]
    for server in made:
        server.start()
    try:
        yield made
    finally:
        for server in made:
            server.stop()


@pytest.fixture
async def pool(database: Database, tmp_path: Path) -> AsyncIterator[EnginePool]:
    async with EnginePool(Settings(home=tmp_path), database) as pool:
        yield pool


async def offer(database: Database, pool: EnginePool, servers: list[FakeServer]) -> int:
    """Add the servers as a, b and probe them; return a sweep over their model."""
    lab.fill(database, 160, models=())
    with database.write() as session:
        session.connection().exec_driver_sql("DELETE FROM engine WHERE name = 'lab'")
        for name, server in zip("ab", servers, strict=False):
            save_external(session, name, server.url)
    await pool.probe(None)
    return lab.save(database, variants=3, answers=2)


def change(server: FakeServer) -> None:
    """Give a server other weights."""
    server.log_prob = lambda prompt, place: fake_log_prob(prompt, place) - 0.4
    server.text = lambda *drawn: f"You should be wrong. {fake_text(*drawn)}"


class Run:
    """A sweep that runs meanwhile."""

    def __init__(self, database: Database, pool: EnginePool, sweep_id: int) -> None:
        self.said: set[str] = set()
        self._database, self._pool, self._sweep_id = database, pool, sweep_id
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> SweepOutcome:
        with self._pool.for_job() as engines:
            run = run_sweep(self._database, self._sweep_id, engines, on_progress=self._note)
            return await asyncio.wait_for(run, 60)

    def _note(self, progress: Progress) -> None:
        self.said.add(str(progress.message))

    async def until_sent_to(self, server: FakeServer) -> None:
        n_before = server.count
        while server.count < n_before + 12:
            await asyncio.sleep(0.01)

    async def ended(self) -> SweepOutcome:
        return await self._task

    async def done(self) -> None:
        outcome = await self._task
        assert (outcome.state, outcome.done, outcome.failed) == ("done", outcome.cells, 0)
        lab.assert_every_slot_once(self._database, self._sweep_id, outcome.cells)
        assert lab.scalar(self._database, WRONG) == 0


async def restart(server: FakeServer) -> None:
    server.latency_s = 0.5  # what it works on is cut off
    n_before = server.count
    while server.count == n_before:
        await asyncio.sleep(0.01)
    port = server.port
    await asyncio.to_thread(server.stop)
    change(server)
    server.latency_s = 0.01
    await asyncio.to_thread(server.start, port)


async def test_a_server_that_comes_back_with_other_weights_is_left(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    run = Run(database, pool, await offer(database, pool, servers))
    await run.until_sent_to(servers[1])
    await restart(servers[1])
    await run.done()
    assert any("offers other weights than before" in said for said in run.said)
    names = "SELECT name FROM model_version ORDER BY id"
    assert lab.rows(database, names) == [("llama",), ("llama@b",)]


async def test_a_server_is_left_as_soon_as_a_probe_tells(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    run = Run(database, pool, await offer(database, pool, servers))
    await run.until_sent_to(servers[1])
    servers[1].log_prob = lambda prompt, place: fake_log_prob(prompt, place) - 0.4
    await pool.probe("b")
    change(servers[1])  # from here on its texts tell
    await run.done()


async def test_a_server_is_left_when_another_worker_has_probed_it(
    database: Database, servers: list[FakeServer], pool: EnginePool, tmp_path: Path
) -> None:
    run = Run(database, pool, await offer(database, pool, servers))
    await run.until_sent_to(servers[1])
    servers[1].log_prob = lambda prompt, place: fake_log_prob(prompt, place) - 0.4
    async with EnginePool(Settings(home=tmp_path / "other"), database) as other:
        await other.probe("b")
    await EngineWatch(database, pool._local, pool._external).look()
    change(servers[1])
    await run.done()


async def test_where_the_only_server_has_other_weights_the_sweep_ends_and_says_so(
    database: Database,
    servers: list[FakeServer],
    pool: EnginePool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workbench.jobs.external.BACK_WITHIN_S", 0.5)
    monkeypatch.setattr("workbench.jobs.external.ASK_AGAIN_S", 0.1)
    run = Run(database, pool, await offer(database, pool, servers[:1]))
    await run.until_sent_to(servers[0])
    await restart(servers[0])
    outcome = await run.ended()
    assert (outcome.state, outcome.failed) == ("failed", 0)
    assert outcome.error is not None
    assert outcome.error.startswith("No model server offers llama now")
    assert lab.scalar(database, WRONG) == 0


async def test_a_server_that_comes_back_with_its_weights_takes_part_again(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    run = Run(database, pool, await offer(database, pool, servers))
    await run.until_sent_to(servers[1])
    port = servers[1].port
    await asyncio.to_thread(servers[1].stop)
    await asyncio.to_thread(servers[1].start, port)
    await run.until_sent_to(servers[1])
    await run.done()
