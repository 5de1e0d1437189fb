"""Replays: model, adapter, format and role changed each by itself, the session left as it is."""

import asyncio

import pytest

from db.database import Database
from db.errors import UsageError
from db.tables import ModelVersion
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab
from tests.unit.dialogue_lab import Lab
from workbench.dialogue.decisions import choose
from workbench.dialogue.lifecycle import set_settings
from workbench.dialogue.replay import Replay, read_replay, replays, start_replay

MODELS = ("fake", "round1", "other", "stranger")


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    """A session of one answered question; adapters ``round1`` of its base, ``stranger`` of none."""
    fake_server.models = MODELS
    lab = Lab(database, fake_server)
    view = lab.answer()
    with database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
        session.add(ModelVersion(name="round1", kind="adapter", digest="sha256:1", base_id=1))
        session.flush()
        session.add(ModelVersion(name="other", kind="base", digest="sha256:2"))
        session.flush()
        session.add(ModelVersion(name="stranger", kind="adapter", digest="sha256:3", base_id=3))
    return lab


def replayed(lab: Lab, **changes: str) -> Replay:
    with lab.database.write() as session:
        step = start_replay(session, lab.registry, lab.id, changes)
    asyncio.run(sweep_lab.run(lab.database, step.sweep_id, lab.server.endpoint, *MODELS))
    with lab.database.read() as session:
        return read_replay(session, lab.id, step.sweep_id)


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({"adapter": "round1"}, "round1"),
        ({"model": "other"}, "other"),
        ({"model": "stranger"}, "stranger"),
        ({"prompt_format": "tagged@1", "adapter": "round1"}, "round1"),
        ({"role": "logician"}, "fake"),
    ],
)
def test_one_thing_is_changed_and_the_rest_stays(
    lab: Lab, changes: dict[str, str], model: str
) -> None:
    found = replayed(lab, **changes)
    assert (found.model, found.changes) == (model, changes)
    (line,) = found.lines
    assert len(line.after) == 1
    assert line.before is not None
    assert line.likeness is not None
    assert lab.server.requests[-1]["model"] == model
    assert len(lab.view().shown) == 3, "the session itself is as it was"


def test_without_the_adapter_its_base_answers(lab: Lab) -> None:
    with lab.database.write() as session:
        set_settings(session, lab.id, {"model": "round1"}, lab.by)
    found = replayed(lab, adapter="none", role="logician")
    assert found.model == "fake"
    with lab.database.read() as session:
        assert replays(session, lab.id)[-1].payload["changes"] == {
            "adapter": "none",
            "role": "logician",
        }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Name what is to be another one"),
        ({"colour": "red"}, "not colour"),
        ({"adapter": "round1", "model": "other"}, "a model or an adapter"),
        ({"adapter": "other"}, "other is no adapter"),
        ({"adapter": "stranger"}, "belongs to another base than fake"),
        ({"adapter": "none"}, "fake has no adapter that could be left out"),
        ({"adapter": "nobody"}, "no model 'nobody'"),
        ({"prompt_format": "nothing"}, "no prompt format 'nothing'"),
    ],
)
def test_what_cannot_be_changed_is_told(lab: Lab, changes: dict[str, str], sentence: str) -> None:
    with lab.database.write() as session, pytest.raises(UsageError, match=sentence):
        start_replay(session, lab.registry, lab.id, changes)


def test_a_merged_model_takes_the_adapters_of_the_base_that_it_was_made_from(lab: Lab) -> None:
    with lab.database.write() as session:
        session.add(ModelVersion(name="merged", kind="merged", digest="sha256:4", base_id=1))
        session.add(ModelVersion(name="orphan", kind="merged", digest="sha256:5"))
        session.flush()
        set_settings(session, lab.id, {"model": "merged"}, lab.by)
        assert start_replay(session, lab.registry, lab.id, {"adapter": "round1"}).job_id
        with pytest.raises(UsageError, match="another base than merged"):
            start_replay(session, lab.registry, lab.id, {"adapter": "stranger"})
        set_settings(session, lab.id, {"model": "orphan"}, lab.by)  # what it was made from: unknown
        with pytest.raises(UsageError, match="another base than orphan"):
            start_replay(session, lab.registry, lab.id, {"adapter": "round1"})
        with pytest.raises(UsageError, match=r"no adapter that could be left out \(merged\)"):
            start_replay(session, lab.registry, lab.id, {"adapter": "none"})
