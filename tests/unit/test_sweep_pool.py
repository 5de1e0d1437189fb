"""Sweeps over a pool of equal servers: work goes where there is room, and outlives each of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from db.database import Database
from db.tables import Engine
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.messages import Capabilities
from serving.engine.pool import pooled
from serving.sweeps.run import SweepOutcome, run_sweep
from tests.fakes.behaviours import Behaviour
from tests.fakes.engines import FixedEngines
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab

BY_ENGINE = "SELECT engine_id, count(*) FROM generation WHERE ok GROUP BY engine_id ORDER BY 1"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeServer]]:
    """Two fake servers that offer one model, under a name each."""
    monkeypatch.setattr("serving.sweeps.replicas.LOOK_FOR_LOST_S", 0.05)
    made = [FakeServer(models=(name,)) for name in ("fake", "other-name")]
    for server in made:
        server.start()
    try:
        yield made
    finally:
        for server in made:
            server.stop()


@asynccontextmanager
async def pool(
    servers: list[FakeServer], *, timeout_s: float = 10.0, **changes: object
) -> AsyncIterator[FixedEngines]:
    """Yield engines with one model on all ``servers``, which are engines 1, 2, …"""
    async with AsyncExitStack() as stack:
        models = []
        for engine_id, server in enumerate(servers, 1):
            client = CompletionClient(server.endpoint, timeout_s=timeout_s, retry=lab.QUICK)
            await stack.enter_async_context(client)
            values: dict[str, object] = {"engine_id": engine_id, "max_num_seqs": 8, **changes}
            models.append(lab.served(client, name=server.models[0], **values))
        yield FixedEngines([pooled(models)])


def planned(database: Database, n_questions: int = 15) -> int:
    lab.fill(database, n_questions)
    with database.write() as session:
        session.add(Engine(name="second", kind="external", url="http://127.0.0.1:2/v1"))
    return lab.save(database, variants=3, answers=2)


async def run(database: Database, engines: FixedEngines, sweep_id: int) -> SweepOutcome:
    outcome = await asyncio.wait_for(run_sweep(database, sweep_id, engines), 60)
    assert (outcome.state, outcome.done, outcome.failed) == ("done", outcome.cells, 0)
    lab.assert_every_slot_once(database, sweep_id, outcome.cells)
    return outcome


def by_engine(database: Database) -> dict[int, int]:
    return dict(lab.rows(database, BY_ENGINE))


async def test_equal_servers_share_a_sweep_and_each_text_names_its_writer(
    database: Database, servers: list[FakeServer]
) -> None:
    sweep_id = planned(database)
    for server in servers:
        server.latency_s = 0.02
    async with pool(servers) as engines:
        outcome = await run(database, engines, sweep_id)
    written = by_engine(database)
    assert set(written) == {1, 2}
    assert min(written.values()) > outcome.cells / 4
    assert {body["model"] for body in servers[1].requests} == {"other-name"}


async def test_a_slow_server_gets_less(database: Database, servers: list[FakeServer]) -> None:
    sweep_id = planned(database)
    servers[0].latency_s, servers[1].latency_s = 0.01, 0.4
    async with pool(servers) as engines:
        await run(database, engines, sweep_id)
    written = by_engine(database)
    assert written[1] > 1.5 * written[2] > 0


async def test_a_small_server_gets_what_it_can_hold(
    database: Database, servers: list[FakeServer]
) -> None:
    sweep_id = planned(database)
    for server in servers:
        server.latency_s = 0.03
    async with pool(servers) as engines:
        model = engines._served[1]
        small = replace(model, max_num_seqs=2, replicas=())
        engines._served[1] = pooled([small, *model.replicas])
        await run(database, engines, sweep_id)
    written = by_engine(database)
    assert written[2] > 1.2 * written[1] > 0


async def test_a_server_that_dies_is_gone_on_without_and_taken_back(
    database: Database, servers: list[FakeServer]
) -> None:
    sweep_id = planned(database, 40)
    for server in servers:
        server.latency_s = 0.03
    second = servers[1]
    async with pool(servers) as engines:
        running = asyncio.create_task(run(database, engines, sweep_id))
        while second.count < 8:
            await asyncio.sleep(0.01)
        port = second.port
        await asyncio.to_thread(second.stop)
        n_before, n_first = second.count, servers[0].count
        while servers[0].count < n_first + 8:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(second.start, port)
        await running
    assert second.count > n_before + 8
    assert engines.served_groups == [frozenset({1})], "the run was never begun anew"


async def test_when_all_servers_are_gone_the_run_waits_for_them(
    database: Database, servers: list[FakeServer]
) -> None:
    sweep_id = planned(database)
    ports = [server.port for server in servers]
    for server in servers:
        server.latency_s = 0.03

    class Revived(FixedEngines):
        async def serve(self, group: frozenset[int]) -> dict[int, ServedModel]:
            for server, port in zip(servers, ports, strict=True):
                if server._thread is None:
                    await asyncio.to_thread(server.start, port)
            return await super().serve(group)

    async with pool(servers) as engines:
        revived = Revived(list(engines._served.values()))
        running = asyncio.create_task(run(database, revived, sweep_id))
        while servers[0].count < 4 or servers[1].count < 4:
            await asyncio.sleep(0.01)
        for server in servers:
            await asyncio.to_thread(server.stop)
        await running
    assert len(revived.served_groups) > 1


@pytest.mark.parametrize("behaviour", ["stall", "busy_429", "error_500", "garbage", "reset"])
async def test_what_one_server_cannot_do_another_does(
    database: Database, servers: list[FakeServer], behaviour: Behaviour
) -> None:
    sweep_id = planned(database, 8)
    servers[1].default = behaviour
    async with pool(servers, timeout_s=0.4) as engines:
        await run(database, engines, sweep_id)
    assert set(by_engine(database)) == {1}
    assert servers[1].count > 0


async def test_what_no_server_can_do_fails_after_as_many_tries_as_one_would_make(
    database: Database, servers: list[FakeServer]
) -> None:
    planned(database, 1)
    sweep_id = lab.save(database, modes=["vanilla"], answers=1)
    for server in servers:
        server.default = "error_500"
    async with pool(servers) as engines:
        outcome = await asyncio.wait_for(run_sweep(database, sweep_id, engines), 30)
    assert (outcome.done, outcome.failed) == (0, 1)
    assert (servers[0].count, servers[1].count) == (2, 2)
    assert "Tried 4 times" in lab.scalar(database, "SELECT error FROM generation")


async def test_somebody_who_waits_is_served_by_the_least_loaded_alone(
    database: Database, servers: list[FakeServer]
) -> None:
    planned(database, 40)
    sweep_id = lab.save(database, variants=4, answers=2)
    edit_id = lab.save(database, modes=["vanilla"], answers=8, questions={"limit": 1})
    servers[0].latency_s = servers[1].latency_s = 0.05
    async with pool(servers) as engines:
        running = asyncio.create_task(run_sweep(database, sweep_id, engines))
        while servers[0].count < 4:
            await asyncio.sleep(0.01)
        outcome = await asyncio.wait_for(run_sweep(database, edit_id, engines, priority=-1), 30)
        urgent = [sum(body.get("priority", 0) < 0 for body in s.requests) for s in servers]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert outcome.done == 8
    assert sorted(urgent)[0] == 0 < sorted(urgent)[1]


async def test_a_pool_can_do_what_each_of_its_servers_can(servers: list[FakeServer]) -> None:
    async with pool(servers) as engines:
        first, second = engines._served[1].everywhere
    poor = Capabilities(n=False, refused_fields=("top_k",), metrics=False)
    pool_of_two = pooled(
        [replace(first, replicas=()), replace(second, capabilities=poor, context_length=99)]
    )
    for one in pool_of_two.everywhere:
        can = one.capabilities
        assert (can.n, can.refused_fields, one.context_length) == (False, ("top_k",), 99)
    assert [one.capabilities.metrics for one in pool_of_two.everywhere] == [True, False]


async def test_a_server_that_fails_again_and_again_is_left_alone_until_it_is_well(
    database: Database, servers: list[FakeServer]
) -> None:
    sweep_id = planned(database, 60)
    servers[0].latency_s, servers[1].latency_s = 0.4, 0.02
    bad = servers[1]
    async with pool(servers) as engines:
        running = asyncio.create_task(run(database, engines, sweep_id))
        while bad.count < 8:
            await asyncio.sleep(0.01)
        bad.default = "error_500"
        n_before = bad.count
        await asyncio.sleep(1.5)
        n_failing = bad.count - n_before
        bad.default = "ok"
        await running
    assert n_failing < 30, "those in the air, and one small prompt now and then"
    assert bad.count > n_before + n_failing + 8, "it takes part again"


@pytest.mark.parametrize("is_healthy", [True, False])
async def test_what_all_servers_fail_for_a_while_is_done_once_they_are_well(
    database: Database, servers: list[FakeServer], is_healthy: bool
) -> None:
    sweep_id = planned(database, 30)
    for server in servers:
        server.latency_s = 0.02
    async with pool(servers) as engines:
        running = asyncio.create_task(run(database, engines, sweep_id))
        while servers[0].count < 8:
            await asyncio.sleep(0.01)
        for server in servers:
            server.default = "error_500"
        servers[1].healthy = is_healthy
        await asyncio.sleep(2.5)
        for server in servers:
            server.default = "ok"
        await running
    assert set(by_engine(database)) == {1, 2}


async def test_where_all_servers_fail_for_too_long_the_run_ends_and_fails_no_slot_for_it(
    database: Database, servers: list[FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.sweeps.replicas.FAILING_FOR_S", 1.0)
    sweep_id = planned(database, 30)
    for server in servers:
        server.default = "error_500"
    async with pool(servers) as engines:
        outcome = await asyncio.wait_for(run_sweep(database, sweep_id, engines), 30)
    assert (outcome.state, outcome.done, outcome.failed) == ("failed", 0, 0)
    assert outcome.error is not None
    assert outcome.error.startswith("All servers of this model have failed for")
