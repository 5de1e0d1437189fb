"""A store in a temporary home, and the app as AppTest runs it on that store."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from db.database import Database, open_database
from db.settings import settings
from tests.app.seed import Seeded, seed_bulk, seed_store

APP = str(Path(__file__).resolve().parents[2] / "workbench" / "app.py")

OpenApp = Callable[..., AppTest]


@pytest.fixture
def store(database: Database) -> Iterator[Database]:
    """The empty store of this test, and an app that has none in its cache."""
    st.cache_resource.clear()
    yield database
    st.cache_resource.clear()


@pytest.fixture
def filled(store: Database) -> Seeded:
    """The store with eight questions and one finished sweep."""
    return seed_store(store)


@pytest.fixture
def open_app(store: Database) -> OpenApp:
    """Return a function that runs a page of the app with an address and fails on exceptions."""
    return _run_page


@pytest.fixture(scope="module")
def large_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 100,000 generations, made once for a module."""
    path = tmp_path_factory.mktemp("large") / "q2q.sqlite"
    shutil.copy(migrated_file, path)
    database = open_database(f"sqlite:///{path}")
    seed_bulk(database, seed_store(database, copies=10), 100_000)
    database.close()
    return path


@pytest.fixture
def open_large(large_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenApp]:
    """Return what runs a page of the app on the large store."""
    monkeypatch.setenv("Q2Q_HOME", str(large_file.parent))
    settings.cache_clear()
    st.cache_resource.clear()
    yield _run_page
    st.cache_resource.clear()
    settings.cache_clear()


def _run_page(page: str = "home", **parameters: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=20)
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    if page != "home":
        app.switch_page(f"app_pages/{page}.py")
        for name, value in parameters.items():
            app.query_params[name] = value
        app.run()
    assert not app.exception, app.exception
    return app


def words_of(app: AppTest) -> str:
    """Return all that a visitor reads, as one text."""
    parts = [app.title, app.subheader, app.markdown, app.caption, app.text, app.error, app.info]
    found = [str(element.value) for part in parts for element in part]
    found += [button.label for button in app.button]
    found += [f"{metric.label} {metric.value}" for metric in app.metric]
    return "\n".join(found).replace("\\", "")
