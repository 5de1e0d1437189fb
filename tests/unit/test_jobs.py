"""The job table: claims, heartbeats, cancels, and what happens when a worker dies."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from db.database import Database, open_database
from db.errors import UsageError
from db.jobs import (
    INTERACTIVE_PRIORITY,
    MAX_STARTS,
    active_jobs,
    claim,
    enqueue,
    finish,
    get_job,
    has_claimable,
    heartbeat,
    recent_jobs,
    release,
    release_left,
    request_cancel,
)
from db.tables import Base, Job, utc_now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'q2q.sqlite'}")
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


def _enqueue(store: Database, **options: object) -> int:
    with store.write() as session:
        return enqueue(session, "sweep", **options)  # type: ignore[arg-type]


def _claim(store: Database, owner: str = "w1", **options: object) -> int | None:
    with store.write() as session:
        job = claim(session, owner, **options)  # type: ignore[arg-type]
    return job.id if job is not None else None


def _age_heartbeat(store: Database, job_id: int, seconds: float) -> None:
    with store.write() as session:
        session.get_one(Job, job_id).heartbeat_at = utc_now() - timedelta(seconds=seconds)


def test_jobs_are_claimed_by_priority_then_age(store: Database) -> None:
    first, second = _enqueue(store), _enqueue(store)
    edit = _enqueue(store, priority=INTERACTIVE_PRIORITY)
    assert [_claim(store) for _ in range(4)] == [edit, first, second, None]


def test_a_claimed_job_is_running_and_held(store: Database) -> None:
    job_id = _enqueue(store, payload={"a": 1}, priority=3)
    _claim(store)
    with store.read() as session:
        job = get_job(session, job_id)
    assert (job.state, job.owner, job.starts, job.payload) == ("running", "w1", 1, {"a": 1})
    assert job.started_at is not None
    assert job.is_active


def test_two_claimants_at_once_never_get_the_same_job(store: Database) -> None:
    jobs = {_enqueue(store) for _ in range(20)}
    taken: list[int] = []

    def take(owner: str) -> None:
        while (job_id := _claim(store, owner)) is not None:
            taken.append(job_id)

    threads = [threading.Thread(target=take, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == sorted(jobs)


def test_a_job_is_claimed_only_from_the_lanes_asked_for(store: Database) -> None:
    device = _enqueue(store, lane="device")
    edit = _enqueue(store, priority=INTERACTIVE_PRIORITY)
    sweep = _enqueue(store)
    assert _claim(store, lanes=("server",), below_priority=0) == edit
    assert _claim(store, lanes=("server",), below_priority=0) is None
    assert _claim(store, lanes=("server",)) == sweep
    assert _claim(store) == device


def test_a_live_job_is_not_taken_over_and_a_dead_one_is(store: Database) -> None:
    job_id = _enqueue(store)
    _claim(store, "w1")
    assert _claim(store, "w2") is None
    _age_heartbeat(store, job_id, 31)
    with store.read() as session:
        assert has_claimable(session)
    assert _claim(store, "w2") == job_id
    with store.read() as session:
        job = get_job(session, job_id)
    assert (job.owner, job.starts) == ("w2", 2)


def test_the_former_holder_learns_that_it_lost_the_job(store: Database) -> None:
    job_id = _enqueue(store)
    _claim(store, "w1")
    _age_heartbeat(store, job_id, 31)
    _claim(store, "w2")
    with store.write() as session:
        assert heartbeat(session, job_id, "w1", done=5)
        assert not finish(session, job_id, "w1", "done")
        assert not release(session, job_id, "w1")
        assert not heartbeat(session, job_id, "w2", done=3, total=9, message="Writes.")
    with store.read() as session:
        job = get_job(session, job_id)
    assert (job.state, job.done, job.total, job.message) == ("running", 3, 9, "Writes.")


def test_a_job_that_ends_every_worker_fails_with_a_sentence(store: Database) -> None:
    job_id = _enqueue(store)
    for _ in range(MAX_STARTS):
        assert _claim(store) == job_id
        _age_heartbeat(store, job_id, 31)
    assert _claim(store) is None
    with store.read() as session:
        job = get_job(session, job_id)
    assert job.state == "failed"
    assert f"ended {MAX_STARTS} times" in (job.error or "")


def test_a_clean_release_is_no_failed_start(store: Database) -> None:
    job_id = _enqueue(store)
    for _ in range(MAX_STARTS + 2):
        assert _claim(store) == job_id
        with store.write() as session:
            assert release(session, job_id, "w1")
    with store.read() as session:
        job = get_job(session, job_id)
    assert (job.state, job.owner, job.starts) == ("queued", None, 0)


def test_jobs_that_the_one_worker_left_go_back_at_once(store: Database) -> None:
    left = _enqueue(store)
    _claim(store, "1:gone")
    with store.write() as session:
        assert release_left(session, 1) == [left]
    assert _claim(store, "1:new") == left
    with store.read() as session:
        assert get_job(session, left).starts == 2


def test_cancelling_a_queued_job_ends_it_and_a_running_one_is_told(store: Database) -> None:
    running, queued = _enqueue(store), _enqueue(store)
    _claim(store)
    with store.write() as session:
        assert request_cancel(session, queued)
        assert request_cancel(session, running)
    with store.write() as session:
        assert get_job(session, queued).state == "cancelled"
        assert get_job(session, running).state == "running"
        assert heartbeat(session, running, "w1")
        assert finish(session, running, "w1", "cancelled")
    with store.write() as session:
        assert not request_cancel(session, running)


def test_a_cancelled_job_whose_worker_died_or_stopped_is_not_run_again(store: Database) -> None:
    died, stopped = _enqueue(store), _enqueue(store)
    _claim(store)
    _claim(store)
    with store.write() as session:
        request_cancel(session, died)
        request_cancel(session, stopped)
        release(session, stopped, "w1")
    _age_heartbeat(store, died, 31)
    assert _claim(store, "w2") is None
    with store.read() as session:
        assert {job.state for job in recent_jobs(session)} == {"cancelled"}


def test_the_result_and_the_error_are_kept(store: Database) -> None:
    good, bad = _enqueue(store), _enqueue(store)
    _claim(store)
    _claim(store)
    with store.write() as session:
        finish(session, good, "w1", "done", result={"cells": 4})
        finish(session, bad, "w1", "failed", error="No model.")
    with store.read() as session:
        newest, oldest = recent_jobs(session)
        assert active_jobs(session) == []
    assert (oldest.state, oldest.result, oldest.error) == ("done", {"cells": 4}, None)
    assert (newest.state, newest.error) == ("failed", "No model.")
    assert newest.finished_at is not None


def test_an_unknown_job_is_a_sentence(store: Database) -> None:
    with store.write() as session, pytest.raises(UsageError, match="There is no job 7"):
        get_job(session, 7)
    with store.write() as session, pytest.raises(UsageError, match="There is no job 7"):
        request_cancel(session, 7)


def test_active_jobs_can_be_those_of_one_kind(store: Database) -> None:
    with store.write() as session:
        probe = enqueue(session, "probe_engine")
        enqueue(session, "sweep")
    with store.read() as session:
        assert [job.id for job in active_jobs(session, kind="probe_engine")] == [probe]
