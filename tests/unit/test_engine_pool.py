"""Servers by URL as one worker sees them: which are equal, which are away, how busy each is."""

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from db.database import Database
from db.engines import list_engines, save_external, servers_of
from db.models import find_model, get_model, list_models
from db.settings import Settings
from db.tables import ModelVersion
from serving.engine.responses import parse_load
from tests.fakes.server import FakeServer, fake_log_prob
from workbench.jobs import engine_watch
from workbench.jobs.engines import EnginePool


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    made = [FakeServer(models=(name,)) for name in ("llama", "llama-at-home", "llama")]
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


async def offer(
    database: Database, pool: EnginePool, servers: list[FakeServer], *equal_to: str | None
) -> None:
    """Add the servers under the names a, b, c, and probe them."""
    with database.write() as session:
        for name, server, model in zip("abc", servers, equal_to, strict=False):
            save_external(session, name, server.url, model_name=model)
    await pool.probe(None)


def offered(database: Database) -> dict[str, tuple[str, ...]]:
    with database.read() as session:
        names = {model.id: model.name for model in list_models(session)}
        return {names[one]: who for one, who in servers_of(session, names).items()}


async def test_servers_of_one_name_or_declared_equal_are_one_model(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    await offer(database, pool, servers, None, "llama", "llama@fp8")
    assert offered(database) == {"llama": ("a", "b"), "llama@fp8": ("c",)}
    with database.read() as session:
        llama = find_model(session, "llama").id
    with pool.for_job() as engines:
        served = await engines.serve(frozenset({llama}))
    assert [one.served_name for one in served[llama].everywhere] == ["llama", "llama-at-home"]


async def test_a_model_of_this_machine_may_be_declared_to_be_elsewhere(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    with database.write() as session:
        session.add(ModelVersion(name="round-2", kind="merged", digest="d", path="/nowhere"))
    await offer(database, pool, servers, "round-2", "round-2")
    assert offered(database) == {"round-2": ("a", "b")}
    with database.read() as session:
        assert get_model(session, 1).digest == "d"
    with pool.for_job() as engines:
        assert engines.groups([1]) == [frozenset({1})]
        served = await engines.serve(frozenset({1}))
    assert [one.served_name for one in served[1].everywhere] == ["llama", "llama-at-home"]


async def test_weights_that_are_clearly_others_are_no_part_of_a_pool(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    servers[1].log_prob = lambda prompt, place: fake_log_prob(prompt, place) * 1.02
    servers[2].log_prob = lambda prompt, place: fake_log_prob(prompt, place) - 0.4
    await offer(database, pool, servers[:1], None)
    await offer(database, pool, servers, None, "llama", None)
    assert offered(database) == {"llama": ("a", "b"), "llama@c": ("c",)}
    with database.read() as session:
        (third,) = [engine for engine in list_engines(session) if engine.name == "c"]
    assert third.state == "ready"
    assert third.message is not None
    assert third.message.startswith("Its weights are not those of llama: 0.40 nats a token apart")


async def test_what_another_worker_found_of_a_server_counts_here_too(
    database: Database, servers: list[FakeServer], pool: EnginePool, tmp_path: Path
) -> None:
    await offer(database, pool, servers[:1], None)
    with database.read() as session:
        llama = find_model(session, "llama").id

    async def used_here() -> list[str]:
        with pool.for_job() as engines:
            served = await engines.serve(frozenset({llama}))
        return [one.client.endpoint.root for one in served[llama].everywhere]

    async with EnginePool(Settings(home=tmp_path / "other"), database) as other:
        await offer(database, other, [servers[0], servers[2]], None, None)
        assert await used_here() == [servers[0].endpoint.root, servers[2].endpoint.root]
        servers[2].log_prob = lambda prompt, place: fake_log_prob(prompt, place) - 0.4
        await other.probe("b")
        assert offered(database) == {"llama": ("a",), "llama@b": ("b",)}
    assert await used_here() == [servers[0].endpoint.root]


async def test_a_server_that_is_away_says_so_and_is_used_again_once_it_is_back(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    await offer(database, pool, servers, None, "llama")
    watch = engine_watch.EngineWatch(database, pool._local, pool._external)
    await watch.look()
    port = servers[1].port
    servers[1].stop()
    await watch.look()
    with database.read() as session:
        states = {engine.name: engine.state for engine in list_engines(session)}
    assert (states["a"], states["b"]) == ("ready", "unhealthy")
    assert offered(database) == {"llama": ("a",)}
    with pool.for_job() as engines:
        served = await engines.serve(frozenset({1}))
    assert len(served[1].everywhere) == 2, "a run takes it in as soon as it answers"
    servers[1].start(port)
    await watch.look()
    assert offered(database) == {"llama": ("a", "b")}


async def test_how_busy_each_engine_is_stands_in_the_store(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    servers[0].n_engines = 2
    await offer(database, pool, servers, None)
    watch = engine_watch.EngineWatch(database, pool._local, pool._external)
    await watch.look()
    servers[0].written_tokens += 500
    await watch.look()
    with database.read() as session:
        (engine,) = [one for one in list_engines(session) if one.name == "a"]
    assert [use.engine for use in engine.load] == [0, 1]
    assert [use.running for use in engine.load] == [0, 0]
    assert all((use.tokens_per_second or 0) > 0 for use in engine.load)


def test_the_load_of_each_engine_behind_one_url_is_told_apart() -> None:
    load = parse_load(
        'vllm:num_requests_running{engine="0",model_name="m"} 3.0\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 64.0\n'
        'vllm:num_requests_waiting{engine="1",model_name="m"} 5.0\n'
        'vllm:generation_tokens_total{engine="1",model_name="m"} 1.2e+03\n'
    )
    assert load is not None
    assert (load.running, load.waiting) == (67, 5)
    assert [(one.engine, one.running, one.waiting, one.generated_tokens) for one in load.cores] == [
        (0, 3, 0, 0),
        (1, 64, 5, 1200),
    ]


async def test_looking_at_servers_stops_nothing_else_while_the_store_lets_nobody_in(
    database: Database, servers: list[FakeServer], pool: EnginePool
) -> None:
    await offer(database, pool, servers, None)
    servers[0].written_tokens += 500
    watch = engine_watch.EngineWatch(database, pool._local, pool._external)
    in_loop: list[bool] = []

    def note(_: object) -> None:
        in_loop.append(threading.current_thread() is threading.main_thread())

    event.listen(database.engine, "begin", note)
    await watch.look()
    event.remove(database.engine, "begin", note)
    assert in_loop
    assert not any(in_loop)
