"""What is typed into a form survives Esc, a reload and a server that went away, in a browser."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.app.seed import seed_store
from tests.browser.conftest import Site, _new_store, ready
from tests.browser.server import app_server, free_port

pytestmark = pytest.mark.browser


def field(page: Page, label: str) -> Locator:
    return page.get_by_label(label, exact=True)


def type_into(page: Page, label: str, text: str) -> None:
    """Type without leaving the field."""
    ready(page, field(page, label)).click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(text)


def test_letters_that_were_just_typed_into_a_sweep_survive_a_reload(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/sweeps?new=1")
    type_into(page, "Name of the sweep", "二つの役割 with no blur")
    page.reload()
    ready(page, page.get_by_text("Your draft was restored."))
    expect(field(page, "Name of the sweep")).to_have_value("二つの役割 with no blur")
    ready(page, page.get_by_role("button", name="Start afresh")).click()
    expect(page.get_by_text("Your draft was restored.")).not_to_be_visible()
    ready(page, page.locator("h1"))
    expect(field(page, "Name of the sweep")).to_have_value("New sweep")
    page.reload()
    ready(page, page.locator("h1"))
    expect(field(page, "Name of the sweep")).to_have_value("New sweep")


def test_esc_leaves_the_field_then_asks_and_keeps_the_form(page: Page, filled_site: Site) -> None:
    page.goto(f"{filled_site.url}/sweeps?new=1")
    type_into(page, "Name of the sweep", "kept by Esc")
    page.keyboard.press("Escape")
    expect(field(page, "Name of the sweep")).not_to_be_focused()
    ready(page, field(page, "Name of the sweep"))
    page.keyboard.press("Escape")
    leave = page.get_by_role("dialog")
    expect(leave.get_by_text("Leave this form?")).to_be_visible()
    ready(page, leave)
    page.keyboard.press("Escape")
    expect(leave).not_to_be_visible()
    expect(field(page, "Name of the sweep")).to_have_value("kept by Esc")
    ready(page, field(page, "Name of the sweep"))
    page.keyboard.press("Escape")
    ready(page, leave.get_by_role("button", name="Keep as a draft")).click()
    expect(field(page, "Name of the sweep")).not_to_be_visible()
    ready(page, page.get_by_role("button", name="New sweep")).first.click()
    expect(field(page, "Name of the sweep")).to_have_value("kept by Esc")


def test_an_invalid_yaml_is_kept_as_it_was_typed(page: Page, filled_site: Site) -> None:
    page.goto(f"{filled_site.url}/datasets?new=1&as=yaml")
    rules = page.locator("textarea")
    ready(page, rules).click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("name: half\ntake: {rated: [")
    page.reload()
    expect(rules).to_have_value("name: half\ntake: {rated: [")


def test_a_question_that_is_being_written_survives_esc_and_a_reload(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/questions")
    ready(page, page.get_by_role("button", name="Add")).click()
    dialog = page.get_by_role("dialog")
    text = dialog.locator("textarea").first
    ready(page, text).click()
    page.keyboard.type("Why do lakes freeze from above?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    ready(page, dialog)
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    ready(page, page.get_by_role("button", name="Add")).click()
    expect(text).to_have_value("Why do lakes freeze from above?")
    page.reload()
    ready(page, page.get_by_role("button", name="Add")).click()
    expect(text).to_have_value("Why do lakes freeze from above?")
    ready(page, dialog.get_by_role("button", name="Save")).click()
    expect(page).to_have_url(re.compile(r"question=\d+"))
    ready(page, page.locator("h1"))
    page.goto(f"{filled_site.url}/questions")
    ready(page, page.get_by_role("button", name="Add")).click()
    expect(text).to_have_value("")


def test_a_theme_survives_a_server_that_went_away(page: Page, tmp_path: Path) -> None:
    database, port = _new_store(tmp_path), free_port()
    seed_store(database)
    with app_server(tmp_path, port) as url:
        page.goto(f"{url}/dialogues?new=1&rater=Mika")
        type_into(page, "Concept", "a town without cars")
        type_into(page, "Goal", "what it takes")
    expect(field(page, "Goal")).to_be_disabled()
    with app_server(tmp_path, port):
        page.reload()
        expect(field(page, "Concept")).to_have_value("a town without cars")
        expect(field(page, "Goal")).to_have_value("what it takes")
    database.close()


def test_the_language_holds_in_new_tabs_links_and_going_back(page: Page, filled_site: Site) -> None:
    page.goto(filled_site.url)
    ready(page, page.get_by_text("日本語", exact=True)).click()
    expect(page.get_by_text("結果を見る")).to_be_visible()
    other = page.context.new_page()
    other.goto(f"{filled_site.url}/questions")
    expect(other.get_by_role("heading", name="質問")).to_be_visible()
    expect(other).to_have_url(f"{filled_site.url}/questions?lang=ja")
    ready(other, other.locator('a[href*="/sweeps"]').first).click()
    expect(other).to_have_url(f"{filled_site.url}/sweeps?lang=ja")
    ready(other, other.get_by_role("heading", name="一括生成"))
    other.go_back()
    expect(other.get_by_role("heading", name="質問")).to_be_visible()
    other.go_back()
    expect(other).to_have_url("about:blank")
