"""A store in a temporary home, and the app as AppTest runs it on that store."""

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import psutil
import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from db import counts
from db.database import Database
from tests.app.seed import Seeded, seed_store
from tests.store_rows import wait_for_counts

# Each AppTest would read the metadata of all installed packages again, which takes half a second.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)

APP = str(Path(__file__).resolve().parents[2] / "workbench" / "app.py")

OpenApp = Callable[..., AppTest]


@pytest.fixture
def store(database: Database) -> Iterator[Database]:
    """The empty store of this test, and an app that has none in its cache."""
    st.cache_resource.clear()
    yield database
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def counts_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages wait for their counts, however busy the machine is."""
    monkeypatch.setattr("db.counts.WAIT_S", 30.0)
    monkeypatch.setattr("db.counts.QUICK_S", 30.0)


@pytest.fixture(autouse=True)
def no_figures_left_over() -> Iterator[None]:
    """End what computes figures in the background; the next test has a store of its own."""
    yield
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.ZombieProcess):
            if "workbench.insights.background" in child.cmdline():
                child.kill()
    wait_for_counts()
    counts._running.clear()


@pytest.fixture
def filled(store: Database) -> Seeded:
    """The store with eight questions and one finished sweep."""
    return seed_store(store)


@pytest.fixture
def open_app(store: Database) -> OpenApp:
    """Return a function that runs a page of the app with an address and fails on exceptions."""
    return run_page


def run_page(page: str = "home", **parameters: str) -> AppTest:
    """Run a page of the app with an address; fail on an exception."""
    app = AppTest.from_file(APP, default_timeout=60)
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    if page != "home":
        app.switch_page(f"ui/{page}/page.py")
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
