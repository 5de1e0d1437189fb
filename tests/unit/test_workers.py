"""Workers as the store knows them: who lives, whose server a row is, and that SQLite takes one."""

from datetime import timedelta

import pytest

from db.database import Database
from db.engines import ensure_local, list_engines
from db.tables import Worker, utc_now
from db.workers.live import (
    StoreHasWorker,
    beat,
    count_free_for,
    ensure_worker,
    leave,
    live_workers,
    register_worker,
)


def test_an_sqlite_file_takes_one_worker_and_says_so(database: Database) -> None:
    with database.write() as session:
        first = register_worker(session, host="here", home="/one")
        assert register_worker(session, host="here", home="/one").id == first.id
        with pytest.raises(StoreHasWorker, match=r"here \(/one\) runs it now.*PostgreSQL"):
            register_worker(session, host="there", home="/two")
        leave(session, first.id)
        assert register_worker(session, host="there", home="/two").id != first.id


def test_a_worker_lives_as_long_as_its_heartbeat_is_fresh(database: Database) -> None:
    with database.write() as session:
        busy = ensure_worker(session, host="a", home="/h")
        idle = ensure_worker(session, host="b", home="/h")
        assert live_workers(session) == []
        beat(session, busy, {7})
        beat(session, idle, ())
        assert [one.job_ids for one in live_workers(session)] == [(7,), ()]
        assert (count_free_for(session, 7), count_free_for(session, 8)) == (2, 1)
        for seconds in (-31, 3600):  # the other: written before the clock was set back
            session.get_one(Worker, busy).heartbeat_at = utc_now() + timedelta(seconds=seconds)
            assert [one.id for one in live_workers(session)] == [idle]


def test_each_live_worker_has_a_row_for_its_server_and_dead_ones_leave_theirs(
    database: Database,
) -> None:
    with database.write() as session:
        old = ensure_local(session)
        workers = [ensure_worker(session, host=host, home="/h") for host in "abc"]
        for worker_id in workers[:2]:
            beat(session, worker_id, ())
        first, second = (ensure_local(session, one) for one in workers[:2])
        assert (first.id, first.name, second.name) == (old.id, "local", "local@2")
        assert ensure_local(session, workers[0]).id == first.id
        assert [one.worker for one in list_engines(session)] == ["a (/h)", "b (/h)"]
        leave(session, workers[0])
        assert [one.worker for one in list_engines(session)] == ["b (/h)"]
        beat(session, workers[2], ())
        assert ensure_local(session, workers[2]).id == first.id
