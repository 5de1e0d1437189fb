"""The map of a dialogue in a real browser: a click leads to a question, branches unfold."""

import re

import pytest
from playwright.sync_api import Page, expect

from db.dialogues import read_nodes
from tests.app.seed_dialogue import seed_dialogue
from tests.browser.conftest import Site, ready
from workbench.dialogue.tree import read_tree

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def dialogue_id(filled_site: Site) -> int:
    return seed_dialogue(filled_site.database, 300)


def test_a_click_on_the_map_leads_to_a_question_and_a_branch_folds(
    page: Page, filled_site: Site, dialogue_id: int
) -> None:
    page.goto(f"{filled_site.url}/dialogues?session={dialogue_id}&view=tree&rater=Ada&lang=en")
    current = ready(page, page.locator(".box.current"))
    assert current.get_attribute("data-node")
    n = page.locator(".box").count()
    folded = page.locator(".fold", has_text="+").first
    hidden = int((folded.text_content() or "").removeprefix("+"))
    folded.click()
    expect(page.locator(".box")).not_to_have_count(n)
    assert n < page.locator(".box").count() <= n + hidden
    with filled_site.database.read() as session:
        root = read_nodes(session, dialogue_id)[0]
    page.locator(f'.box[data-node="{root.id}"]').click()
    expect(page).to_have_url(re.compile(rf"node={root.id}\b"))
    expect(page.get_by_text("Chosen answer")).to_be_visible()
    with filled_site.database.read() as session:
        assert read_tree(session, dialogue_id).current_id == root.id
