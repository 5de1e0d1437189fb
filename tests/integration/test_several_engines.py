"""Several real engines: two behind one URL and two servers as a pool, with a death in a sweep."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from db.database import Database
from db.settings import Settings
from db.tables import Engine
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.messages import Endpoint
from serving.engine.pool import pooled
from serving.engine.server import ServerRecord, read_record
from serving.engine.supervisor import EngineSupervisor, SupervisorPolicy
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.run import run_sweep
from tests.engine_fixture import VllmServer, embedded_spec
from tests.fakes.engines import FixedEngines
from tests.unit import sweep_lab as lab

pytestmark = [pytest.mark.engine, pytest.mark.soak]

SHORT = [{"temperature": 0.8, "max_tokens": 24}]
SEATS = 8


@asynccontextmanager
async def data_parallel(home: Path) -> AsyncIterator[tuple[EngineSupervisor, ServerRecord]]:
    """Start a server of two engines; end all of it afterwards."""
    settings = Settings(
        home=home, kv_cache_gib=1, max_model_len=1024, max_num_seqs=SEATS, data_parallel_size=2
    )
    policy = SupervisorPolicy(check_every_s=0.5, misses=1_000, restarts=0)
    supervisor = EngineSupervisor(settings, lambda _: None, policy=policy)
    await supervisor.ensure(embedded_spec())
    record = read_record(settings.home_dir)
    assert record is not None
    try:
        yield supervisor, record
    finally:
        await supervisor.stop()


def cores_of(record: ServerRecord) -> list[psutil.Process]:
    members = map(psutil.Process, record.process.members())
    return [one for one in members if "EngineCore" in " ".join([one.name(), *one.cmdline()])]


def model_on(endpoint: Endpoint, server: VllmServer, engine_id: int, seats: int) -> ServedModel:
    return lab.served(
        CompletionClient(endpoint, timeout_s=120),
        name=server.model,
        engine_id=engine_id,
        tokenizer=PromptTokenizer.load(server.folder),
        context_length=1024,
        max_num_seqs=seats,
    )


async def test_a_sweep_over_a_pool_outlives_an_engine_that_dies(
    database: Database, vllm_server: VllmServer, tmp_path: Path
) -> None:
    lab.fill(database, 12)
    with database.write() as session:
        session.add(Engine(name="two", kind="external", url="http://127.0.0.1:2/v1"))
    sweep_id = lab.save(
        database,
        formats=["chat@1"],
        variants=4,
        answers=2,
        reasoning_sampling=SHORT,
        answer_sampling=SHORT,
    )
    async with data_parallel(tmp_path / "own") as (supervisor, record):
        assert supervisor.plan.total_num_seqs == 2 * SEATS
        assert len(cores_of(record)) == 2
        endpoint = supervisor.endpoint
        assert endpoint is not None
        one = model_on(vllm_server.endpoint, vllm_server, 1, 8)
        two = model_on(endpoint, vllm_server, 2, supervisor.plan.total_num_seqs)
        engines = FixedEngines([pooled([one, two])])
        watch = asyncio.create_task(supervisor.watch())
        running = asyncio.create_task(run_sweep(database, sweep_id, engines))
        while lab.scalar(database, "SELECT count(*) FROM generation WHERE engine_id = 2") < 8:
            await asyncio.sleep(0.1)
        load = await two.client.metrics()
        assert load is not None
        assert all(core.generated_tokens > 0 for core in load.cores), "both engines have work"
        assert len(load.cores) == 2
        os.kill(cores_of(record)[-1].pid, signal.SIGKILL)
        outcome = await asyncio.wait_for(running, 300)
        async with asyncio.timeout(60):
            while supervisor.state.state != "failed":  # after no restart at all
                await asyncio.sleep(0.1)
        why = supervisor.state.message
        watch.cancel()
        for model in (one, two):
            await model.client.close()
    assert (outcome.state, outcome.done, outcome.failed) == ("done", outcome.cells, 0)
    lab.assert_every_slot_once(database, sweep_id, outcome.cells)
    written = dict(
        lab.rows(database, "SELECT engine_id, count(*) FROM generation GROUP BY engine_id")
    )
    assert min(written[1], written[2]) > 0
    assert sum(written.values()) == outcome.cells, "nothing was written twice"
    assert "one of its engines ended" in why
    assert record.process.members() == [], "API server, engines and coordinator are gone"
