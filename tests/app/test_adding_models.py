"""Models are added on their page: a server by URL, tested first; one of the hub or of a folder."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.engines import ensure_local, list_engines, save_engine_state, set_wanted
from db.errors import Q2QError
from db.jobs import active_jobs, claim, finish, get_job
from db.server_keys import FILE
from db.settings import Settings
from tests.app.conftest import OpenApp, words_of
from tests.fakes.server import FakeServer
from tests.unit.test_digest import make_model
from workbench.jobs.contracts import JobContext
from workbench.worker import handler_of

SECRET = "sk-hunter2-0123456789"


@pytest.fixture
def hosted() -> Iterator[FakeServer]:
    server = FakeServer(api_key=SECRET, has_completions=False, models=("large", "small"))
    server.refuses = frozenset({"top_k"})
    server.start()
    yield server
    server.stop()


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception, app.exception
    return app


def fill(app: AppTest, **values: str) -> None:
    for label, value in values.items():
        field = next(one for one in app.text_input if one.label.startswith(label))
        field.set_value(value)


def test_a_server_is_tested_then_added_and_its_removal_asks(
    store: Database, open_app: OpenApp, hosted: FakeServer, home: Path
) -> None:
    app = open_app("models", add="server")
    assert app.button(key="add_server").disabled
    fill(app, Name="teacher", Address=hosted.url, Key="wrong")
    assert "does not accept the key (HTTP 401)" in words_of(press(app, "Test"))
    fill(app, Key=SECRET)
    assert "It answers and lists 2 models" in words_of(press(app, "Test"))
    assert hosted.count == 0
    app.multiselect[0].set_value(["small"]).run()
    words = words_of(press(app, "Test"))
    assert "small writes, through /v1/chat/completions alone" in words
    assert "refuses them: top_k." in words
    drafts = str(app.session_state["drafts_kept"])
    assert hosted.url in drafts
    assert SECRET not in drafts
    assert {one["model"] for one in hosted.requests} == {"small"}
    app.button(key="add_server").click().run()
    assert not app.exception, app.exception
    with store.read() as session:
        (engine,) = list_engines(session)
        (job,) = active_jobs(session)
    assert (engine.name, engine.url, engine.offers) == ("teacher", hosted.url, {"small": {}})
    assert (job.kind, job.payload) == ("probe_engine", {"engine": "teacher"})
    kept = json.loads((home / FILE).read_text("utf-8"))
    assert kept == {hosted.url: SECRET}
    app = open_app("models")
    assert "All that it wrote stays" in words_of(app)
    press(app, "Remove this server")
    with store.read() as session:
        assert list_engines(session) == []
    assert not (home / FILE).exists()


def test_an_address_that_is_none_is_refused_with_a_sentence(open_app: OpenApp) -> None:
    app = open_app("models")
    fill(app, Name="teacher", Address="teacher.example")
    assert "is no URL of a server" in words_of(press(app, "Test"))


def test_a_server_that_is_stopped_is_started_here(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        engine_id = ensure_local(session).id
        save_engine_state(session, engine_id, "stopped")
        set_wanted(session, engine_id, False)
    press(open_app("models"), "Start")
    with store.read() as session:
        assert [job.kind for job in active_jobs(session)] == ["serve_start"]


def test_a_folder_is_added_by_a_job_whose_end_is_told(
    store: Database, open_app: OpenApp, tmp_path: Path
) -> None:
    app = open_app("models")
    fill(app, Hub="no such thing")
    app.button(key="add_folder").click().run()
    assert "neither a folder nor a hub id" in words_of(app)
    for source in (make_model(tmp_path / "Small Model"), tmp_path):
        app = open_app("models")
        fill(app, Hub=str(source))
        app.button(key="add_folder").click().run()
        with store.read() as session:
            (job,) = active_jobs(session, kind="add_model")
        assert "Adding a model" in words_of(open_app("models"))
        _run(store, job.id)
    words = words_of(open_app("models"))
    assert "small-model" in words
    assert "holds no safetensors file" in words


def _run(store: Database, job_id: int) -> None:
    """Do a job as the worker does, without one."""
    with store.write() as session:
        claim(session, "test")
        job = get_job(session, job_id)
    handler: Any = handler_of(job.kind)
    context = JobContext(job=job, database=store, settings=Settings(), pool=None)  # type: ignore[arg-type]
    result, error = None, None
    try:
        result = asyncio.run(handler(context))
    except Q2QError as failure:
        error = str(failure)
    with store.write() as session:
        finish(session, job_id, "test", "failed" if error else "done", error=error, result=result)
