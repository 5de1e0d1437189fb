"""What is typed for a field before it is drawn reaches the field, and never becomes a key."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from db.tables import DialogueEvent
from tests.app.seed import seed_store
from tests.app.seed_dialogue import seed_dialogue
from tests.browser.conftest import Site, _new_store, ready
from tests.browser.server import app_server
from workbench.rating.queues import QueueSpec, build_queue, save_queue

pytestmark = pytest.mark.browser

KEY_MS = 30
DECIDES = "k n p w 2 m"
"""Letters that each decide something, where they are keys of a dialogue."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("ahead")
    database = _new_store(home)
    seed_store(database)
    seed_dialogue(database, 14)
    with database.write() as session:
        spec = QueueSpec.model_validate({"name": "one", "scope": "answer", "way": "single"})
        save_queue(session, build_queue(session, spec))
    with app_server(home) as url:
        yield Site(url, database)
    database.close()


def n_events(site: Site) -> int:
    with site.database.read() as session:
        return session.scalar(select(func.count()).select_from(DialogueEvent)) or 0


@pytest.mark.parametrize(
    ("key", "field"), [("z", "-reason--text"), ("c", "-note--text"), ("w", "-own--text")]
)
def test_a_key_that_leads_into_a_field_is_followed_by_letters_for_it(
    page: Page, site: Site, key: str, field: str
) -> None:
    page.goto(f"{site.url}/dialogues?session=1&rater=Ada")
    ready(page, page.get_by_role("button", name="Take it"))
    before = n_events(site)
    page.keyboard.type(f"{key}{DECIDES}", delay=KEY_MS)
    target = page.locator(f'[class*="{field}"] :is(input, textarea)')
    expect(target).to_have_value(DECIDES)
    expect(target).to_be_focused()
    ready(page, target)
    assert n_events(site) == before


def test_a_reasoning_written_at_once_has_all_its_letters_and_the_card_no_value(
    page: Page, site: Site
) -> None:
    page.goto(f"{site.url}/rating?queue=1&rater=Ada")
    ready(page, page.get_by_role("button", name="Skip"))
    page.keyboard.type("w3 of 5 say yes", delay=KEY_MS)
    after = page.get_by_role("textbox", name="After")
    expect(after).to_have_value("3 of 5 say yes")
    ready(page, page.get_by_role("button", name="Save and answer"))
    page.go_back()
    ready(page, page.get_by_role("button", name="Skip"))
    expect(page.locator(".chosen")).to_have_count(0)
