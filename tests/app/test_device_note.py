"""Who waits while training has the device is told until when."""

from datetime import timedelta

import pytest

from db.database import Database
from db.jobs import enqueue
from db.rounds import create_round, move_round
from db.tables import Job, ModelVersion, utc_now
from tests.app.conftest import OpenApp, words_of
from workbench.rounds.spec import parse_round
from workbench.ui.components.jobs import device_job


def running(store: Database, kind: str, **values: object) -> None:
    with store.write() as session:
        job_id = enqueue(session, kind, **values)  # type: ignore[arg-type]
        job = session.get_one(Job, job_id)
        job.state, job.owner, job.done, job.total = "running", "w", 25, 100
        job.started_at = utc_now() - timedelta(minutes=5)
        job.heartbeat_at = utc_now()


def test_a_waiting_job_says_what_has_the_device_and_for_how_long(
    store: Database, open_app: OpenApp
) -> None:
    running(store, "train", lane="device", payload={"run_id": 1})
    with store.write() as session:
        enqueue(session, "sweep", payload={})
    words = words_of(open_app())
    assert "Training has the device to itself, for about" in words
    assert "about 15 min" in words
    assert "「学習」が計算機を専有しています（あと約" in words_of(open_app(lang="ja"))


@pytest.mark.parametrize(("step", "has_it"), [("train", True), ("verify", True), ("sweep", False)])
def test_a_round_has_the_device_only_while_it_trains_merges_and_proves(
    store: Database, step: str, has_it: bool
) -> None:
    with store.write() as session:
        session.add(ModelVersion(id=7, name="small", kind="declared"))
        session.flush()
        config = parse_round({"name": "first", "dataset": "rows"}).as_config()
        made = create_round(session, name="first", config=config, starts_from_id=7)
        move_round(session, made.id, step=step)
    running(store, "round", payload={"round_id": made.id})
    with store.read() as session:
        assert (device_job(session) is not None) is has_it
