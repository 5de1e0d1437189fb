"""A PostgreSQL that goes away in the middle: nothing that a worker claimed stays with nobody."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from db import database as database_module
from db.cancelling import Cancelled
from db.database import Database
from db.jobs import claim, enqueue_sweep
from db.workers.live import register_worker
from serving.sweeps.chunks import SharedChunks, Sharing, spans
from serving.sweeps.run import join_sweep
from tests.fakes.server import FakeServer
from tests.integration.test_postgres import migrated, store
from tests.postgres_fixture import postgres_away
from tests.unit import sweep_lab as lab

__all__ = ["migrated", "store"]
pytestmark = pytest.mark.postgres
N_QUESTIONS = 40
HELD = "SELECT count(*) FROM sweep_chunk WHERE worker_id IS NOT NULL"
CLAIMED = "SELECT count(*) FROM slot_claim"


def shared(store: Database) -> tuple[int, Sharing, SharedChunks]:
    """Return a sweep that another worker holds, how this one shares it, and its chunks."""
    lab.fill(store, N_QUESTIONS)
    sweep_id = lab.save(store, variants=6, answers=6)
    with store.write() as session:
        job_id = enqueue_sweep(session, sweep_id)
        holder = register_worker(session, host="here", home="/one")
        assert claim(session, f"{holder.id}:here", worker_id=holder.id)
        worker = register_worker(session, host="there", home="/two")
    places = spans(N_QUESTIONS, N_QUESTIONS * 42, is_shared=True)
    ids = [row[0] for row in lab.rows(store, "SELECT id FROM question ORDER BY id")]
    SharedChunks(store, Sharing(holder.id, job_id), ids, places, 1)
    sharing = Sharing(worker.id, job_id, is_joined=True)
    return sweep_id, sharing, SharedChunks(store, sharing, ids, places, 1)


@contextmanager
def locked(store: Database, table: str) -> Iterator[None]:
    """Have whoever writes into ``table`` wait until the block is left."""
    with store.engine.begin() as connection:
        connection.execute(text(f"LOCK TABLE {table} IN EXCLUSIVE MODE"))
        yield


async def until_one_waits(store: Database, table: str) -> None:
    waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    async with asyncio.timeout(30):
        while lab.rows(store, waiting) == [(0,)]:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("table", ["sweep_chunk", "slot_claim"])
async def test_what_is_being_claimed_when_a_run_is_cancelled_is_let_go(
    store: Database, fake_server: FakeServer, table: str
) -> None:
    sweep_id, sharing, _ = shared(store)
    cancelled = asyncio.Event()
    async with lab.fixed_engines(fake_server.endpoint) as engines:
        joined = asyncio.create_task(
            join_sweep(
                store,
                sweep_id,
                engines,
                sharing,
                cancelled=cancelled,
                priority=0,
                retry_failed=False,
            )
        )
        with locked(store, table):
            await until_one_waits(store, table)
            cancelled.set()
            await asyncio.sleep(0.3)
        with pytest.raises(Cancelled):
            await joined
        await asyncio.sleep(0.3)  # whatever still runs has ended
    assert (lab.rows(store, HELD), lab.rows(store, CLAIMED)) == ([(0,)], [(0,)])


async def test_chunks_are_given_back_when_the_store_was_away_for_longer_than_one_waits(
    store: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "AWAY_S", 0.1)
    _, _, chunks = shared(store)
    assert await chunks.take(0) is not None
    assert lab.rows(store, HELD) == [(1,)]
    with postgres_away(postgres_url):
        giving_back = asyncio.create_task(chunks.give_back(0))
        await asyncio.sleep(0.6)
        giving_back.cancel()  # as where the whole run ends meanwhile
        await asyncio.gather(giving_back, return_exceptions=True)
    async with asyncio.timeout(20):
        while lab.rows(store, HELD) != [(0,)]:
            await asyncio.sleep(0.05)
