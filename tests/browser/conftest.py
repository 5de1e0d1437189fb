"""A real server and a real browser, each started once for these tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from db.database import Database, open_database
from db.store.migrate import upgrade
from tests.app.seed import seed_engine, seed_store
from tests.browser.chromium import chromium
from tests.browser.server import app_server

expect.set_options(timeout=30_000)


@dataclass
class Site:
    """A running app and its store."""

    url: str
    database: Database


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser a module; while it is open, no other event loop can run in this thread."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor at a desk."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    yield context.new_page()
    context.close()


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """A fresh visitor with a narrow screen."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-US")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def fresh_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store that knows the model, and nothing else."""
    home = tmp_path_factory.mktemp("fresh")
    database = _new_store(home)
    with database.write() as session:
        seed_engine(session, state="starting", progress=0.3, message="Reading the weights.")
    yield from _served(home, database)


@pytest.fixture(scope="module")
def filled_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store with questions and a finished sweep."""
    home = tmp_path_factory.mktemp("filled")
    database = _new_store(home)
    seed_store(database)
    yield from _served(home, database)


def ready(page: Page, target: Locator) -> Locator:
    """Return ``target`` once it is shown and the page has come to rest.

    A button that is drawn anew between the press and the release of a machine as fast as this one
    would lose the click.
    """
    expect(target).to_be_visible()
    expect(page.locator('[data-test-script-state="notRunning"]')).to_have_count(1)
    page.evaluate("() => new Promise(done => setTimeout(done, 200))")
    return target


def _new_store(home: Path) -> Database:
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    upgrade(database)
    return database


def _served(home: Path, database: Database) -> Iterator[Site]:
    with app_server(home) as url:
        yield Site(url, database)
    database.close()
